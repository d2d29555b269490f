"""The data sets as they were published: shapes, classes, normalisation, files, checksums, sources.

Facts only; what of them is in place is the business of `catalogue`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from eqprop_core.problems import NotThereError

Split = Literal["train", "test"]
SPLITS: tuple[Split, Split] = ("train", "test")
CIFAR10_BINARY_FOLDER = "cifar-10-batches-bin"


class DataError(ValueError):
    """A data set is missing, damaged or not what was asked for; the message says where and what would do."""


class NoSuchFolderError(DataError, NotThereError):
    """A folder that was named for a data set is not there."""


@dataclass(frozen=True)
class Download:
    """What an address serves: how many bytes, and their SHA-256."""

    url: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file of a data set: `records` records of equal size, after an IDX header if it has a `magic`."""

    path: str  # below the data root, with slashes
    split: Split
    records: int  # in the complete file
    record_shape: tuple[int, ...]  # in bytes; () is a single byte
    magic: int = 0  # first four bytes of an IDX file; 0: no header at all
    sha256: str | None = None  # of the complete, uncompressed file, where known
    head_md5: str | None = None  # of the records that it begins with: the first image, the first ten labels
    download: Download | None = None  # what serves this file, compressed or inside an archive

    @property
    def record_bytes(self) -> int:
        """Bytes of one record."""
        return math.prod(self.record_shape)

    @property
    def header_bytes(self) -> int:
        """Bytes before the first record."""
        return 4 * (2 + len(self.record_shape)) if self.magic else 0

    @property
    def head_records(self) -> int:
        """How many records `head_md5` is of."""
        return 1 if self.record_shape else 10

    @property
    def size(self) -> int:
        """Bytes of the complete, uncompressed file."""
        return self.header_bytes + self.records * self.record_bytes


@dataclass(frozen=True, kw_only=True)
class DatasetInfo:
    """What is known of a data set without reading it.

    A network sees (pixel / scale - mean) / std, per channel. Sizes count the images of the complete
    data set, or those in the folders of an imagefolder.
    """

    name: str
    title: str
    shape: tuple[int, int, int]  # channels, height, width
    classes: tuple[str, ...]
    train_size: int | None
    test_size: int | None
    scale: float  # largest pixel value
    mean: tuple[float, ...]  # one per channel, of pixels in 0..1
    std: tuple[float, ...]
    augmentable: bool  # a mirrored or shifted image still shows the same class
    source: str
    licence: str
    files: tuple[FileSpec, ...] = ()  # none where the images ship with eqprop, or are files of their own each


IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def _idx_files(
    task: str,
    url: str,
    packed: tuple[tuple[int, str], ...],
    sha256s: tuple[str | None, ...],
    head_md5s: tuple[str | None, ...],
) -> tuple[FileSpec, ...]:
    return tuple(
        FileSpec(
            path=f"{task}/raw/{name}",
            split="train" if name.startswith("train") else "test",
            records=60_000 if name.startswith("train") else 10_000,
            record_shape=(28, 28) if "images" in name else (),
            magic=0x0803 if "images" in name else 0x0801,
            sha256=sha256,
            head_md5=head_md5,
            download=Download(f"{url}{name}.gz", *size_and_sum),
        )
        for name, size_and_sum, sha256, head_md5 in zip(IDX_NAMES, packed, sha256s, head_md5s, strict=True)
    )


# Sizes and SHA-256 of what is downloaded: of all three data sets in the checksums of TensorFlow Datasets
# (url_checksums/mnist.txt, fashion_mnist.txt, cifar10.txt), and the same in torchvision.prototype.datasets
# (both MNISTs) and in MLDatasets.jl (CIFAR-10). Those of MNIST's unpacked files were computed from files that
# have the MD5 which torchvision expects.
_MNIST_FILES = _idx_files(
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        (9_912_422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
        (28_881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
        (1_648_877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
        (4_542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
    ),
    (
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    (
        "2ce86e4daeeff3a0cdebce6897c784ba",
        "dab09118767767657291ba286b9afcfd",
        "1081cd3611ed4bea23c5769d20d414e5",
        "f78924e1562ea6b85b7999452f383f2d",
    ),
)
_FASHION_FILES = _idx_files(
    "FashionMNIST",
    # Its authors' own repository; the address in its README has no https.
    "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    (
        (26_421_880, "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84"),
        (29_515, "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845"),
        (4_422_102, "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073"),
        (5_148, "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5"),
    ),
    (None, None, None, None),
    (None, "385c7d93db438f7176cc4f4c426c192b", None, "d8743a11eec3f7319f1f29195dde6b3f"),
)
_CIFAR10_ARCHIVE = Download(
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
    170_052_171,
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
)
_CIFAR10_FILES = tuple(
    FileSpec(
        path=f"{CIFAR10_BINARY_FOLDER}/{name}.bin",
        split="test" if name == "test_batch" else "train",
        records=10_000,
        record_shape=(1 + 3 * 32 * 32,),  # the label, then red, green and blue, row by row
        download=_CIFAR10_ARCHIVE,
    )
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch")
)
_DIGIT_NAMES = tuple("0123456789")
_CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_FASHION_CLASSES = (
    *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
    *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
)
PUBLISHED: dict[str, DatasetInfo] = {
    info.name: info
    for info in (
        DatasetInfo(
            name="digits",
            title="UCI optical digits, 8 x 8",
            shape=(1, 8, 8),
            classes=_DIGIT_NAMES,
            train_size=1438,
            test_size=359,
            scale=16.0,
            mean=(0.0,),
            std=(1.0,),
            augmentable=False,
            source="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, 1998, "
            "doi 10.24432/C50P49",
            licence="CC BY 4.0",
        ),
        DatasetInfo(
            name="MNIST",
            title="MNIST handwritten digits, 28 x 28",
            shape=(1, 28, 28),
            classes=_DIGIT_NAMES,
            train_size=60_000,
            test_size=10_000,
            scale=255.0,
            mean=(0.0,),
            std=(1.0,),
            augmentable=False,
            source="Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits, 1998",
            licence="CC BY-SA 3.0",
            files=_MNIST_FILES,
        ),
        DatasetInfo(
            name="FashionMNIST",
            title="Fashion-MNIST clothing, 28 x 28",
            shape=(1, 28, 28),
            classes=_FASHION_CLASSES,
            train_size=60_000,
            test_size=10_000,
            scale=255.0,
            mean=(0.0,),
            std=(1.0,),
            augmentable=True,
            source="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, 2017, arXiv 1708.07747",
            licence="MIT",
            files=_FASHION_FILES,
        ),
        DatasetInfo(
            name="CIFAR10",
            title="CIFAR-10 photographs, 32 x 32 in colour",
            shape=(3, 32, 32),
            classes=_CIFAR10_CLASSES,
            train_size=50_000,
            test_size=10_000,
            scale=255.0,
            mean=(0.4914, 0.4822, 0.4465),
            std=(3 * 0.2023, 3 * 0.1994, 3 * 0.2010),
            augmentable=True,
            source="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
            licence="none stated by its authors, who ask to be cited",
            files=_CIFAR10_FILES,
        ),
        DatasetInfo(
            name="imagenet",
            title="inputs of ImageNet's size, 224 x 224 in colour, for GDU checks",
            shape=(3, 224, 224),
            classes=tuple(map(str, range(1000))),
            train_size=20,
            test_size=1,
            scale=255.0,
            mean=(0.485, 0.456, 0.406),
            std=(0.229, 0.224, 0.225),
            augmentable=False,
            source="drawn at random, or your own images",
            licence="none needed",
        ),
    )
}
