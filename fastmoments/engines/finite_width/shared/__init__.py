"""What all theories of finite width are made of."""
