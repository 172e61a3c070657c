"""Mean and covariance of one given net over random inputs, through its own weights."""
