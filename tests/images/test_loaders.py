"""Images of data loaders and datasets: fakes that look like those of PyTorch, and PyTorch's own."""

import numpy as np
import pytest

import fastmoments as fm
from fastmoments.images.loaders import handed_out
from fastmoments.images.sources import as_images

RNG = np.random.default_rng(0)
ARRAYS = RNG.normal(size=(20, 3, 8, 8))


class Tensor:
    def __init__(self, values):
        self.values = np.asarray(values)

    def detach(self):
        return self

    cpu = detach

    def numpy(self):
        return self.values


class Dataset:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, place):
        return self.items[place]


class Loader:
    def __init__(self, items, batch):
        self.dataset, self.batch = Dataset(items), batch

    def __iter__(self):
        for first in range(0, len(self.dataset), self.batch):
            chosen = self.dataset.items[first : first + self.batch]
            yield Tensor(np.stack([image.values for image, _ in chosen])), [label for _, label in chosen]


PAIRS = [(Tensor(image), 3) for image in ARRAYS]
LAST = ARRAYS.transpose(0, 2, 3, 1)


def test_the_first_batches_of_a_loader():
    loader = Loader(PAIRS, 6)
    assert np.array_equal(fm.load_images(loader, 8).array, LAST[:8])
    whole = as_images(loader)
    assert np.array_equal(whole.array, LAST[:6]) and whole.source == "Dataset" and whole.seed is None
    assert np.array_equal(fm.load_images(loader, None).array, LAST[:6])
    with pytest.raises(ValueError, match=r"^Dataset: count is 21, but there are only 20 images.$"):
        fm.load_images(loader, 21)
    with pytest.raises(ValueError, match=r"^Dataset: at least one is needed, but there are only 0 images.$"):
        fm.load_images(Loader([], 4), None)


def test_a_dataset_is_drawn_from():
    dataset = Dataset(PAIRS)
    some, more = fm.load_images(dataset, 4, seed=1), fm.load_images(dataset, 9, seed=1)
    order = np.random.default_rng(1).permutation(20)
    assert np.array_equal(some.array, LAST[order[:4]]) and np.array_equal(more.array[:4], some.array)
    assert some.seed == 1 and np.array_equal(fm.load_images(dataset, None).array, LAST)
    assert (
        as_images(dataset).array.shape == (16, 8, 8, 3) and as_images(Dataset(PAIRS[:3])).array.shape[0] == 3
    )
    with pytest.raises(ValueError, match="count is 21, but there are only 20"):
        fm.load_images(dataset, 21)


@pytest.mark.parametrize(
    "items",
    [
        PAIRS, [image for image, _ in PAIRS], [{"label": 1, "image": image} for image, _ in PAIRS],
        [[image, 1, 2] for image, _ in PAIRS], [(image, 3) for image in LAST],
        [{"first": image} for image in LAST],
    ],
    ids=["pairs", "images", "tables", "triples", "arrays", "tables of arrays"],
)  # fmt: skip
def test_what_a_dataset_gives(items):
    assert np.array_equal(fm.load_images(Dataset(items), None).array, LAST)


def test_grey_images_and_those_of_pillow():
    grey = fm.load_images(Dataset([(Tensor(image[:1]), 0) for image in ARRAYS]), None)
    assert np.array_equal(grey.array, LAST[..., :1])
    flat = fm.load_images(Dataset([image[0] for image in ARRAYS]), None)
    assert np.array_equal(flat.array, LAST[..., :1])
    pillow = pytest.importorskip("PIL.Image")
    pixels = RNG.integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    pictures = Dataset([(pillow.fromarray(each), 1) for each in pixels])
    assert np.array_equal(fm.load_images(pictures, None).array, pixels)
    palette = Dataset([(pillow.fromarray(each).convert("P"), 1) for each in pixels])
    assert fm.load_images(palette, None).array.shape == (4, 8, 8, 3)


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ([Tensor(ARRAYS[0]), Tensor(ARRAYS[0][:, :4])], "image 1 has the shape .3, 4, 8.; images must"),
        (["a", "b"], "must be integers or floats|must form one array"),
        ([None], "must be integers or floats|must form one array"),
        ([Tensor(np.zeros(3))], r"image 0 has the shape \(3,\)"),
        ([{}], "must be integers or floats|must form one array"),
    ],
)  # fmt: skip
def test_what_holds_no_images_is_refused(items, said):
    with pytest.raises(ValueError, match=said) as caught:
        fm.load_images(Dataset(items), None)
    assert str(caught.value).endswith(".") and "\n" not in str(caught.value)


def test_what_raises_is_one_sentence():
    class Broken(Dataset):
        def __getitem__(self, place):
            raise OSError("no such\nfile")

    class BrokenLoader(Loader):
        def __iter__(self):
            raise RuntimeError("worker died")

    with pytest.raises(ValueError, match=r"^Broken: image 0 cannot be read: OSError: no such file.$"):
        fm.load_images(Broken(PAIRS), None)
    with pytest.raises(ValueError, match=r"^Dataset: a batch cannot be read: RuntimeError: worker died.$"):
        fm.load_images(BrokenLoader(PAIRS, 2))
    with pytest.raises(ValueError, match="only PNG and JPEG images are brought to a size"):
        fm.load_images(Dataset(PAIRS), size=8)


def test_arrays_and_sequences_are_none_of_them():
    for each in (
        ARRAYS,
        ARRAYS.tolist(),
        list(ARRAYS),
        Tensor(ARRAYS),
        "text",
        {"a": 1},
        fm.load_images(),
        3,
        None,
    ):
        assert not handed_out(each)


def test_those_of_pytorch():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    dataset = TensorDataset(torch.from_numpy(ARRAYS), torch.arange(20))
    loader = DataLoader(dataset, batch_size=8)
    assert np.array_equal(fm.load_images(loader, 12).array, LAST[:12])
    assert np.array_equal(fm.load_images(dataset, None).array, LAST)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3))
    scan = fm.scan(module, loader)
    assert scan.data["images"] == 8 and np.array_equal(scan["chi"], fm.scan(module, LAST[:8])["chi"])
    assert fm.scan(module, dataset).data["images"] == 16
