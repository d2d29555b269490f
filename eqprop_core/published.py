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


@dataclass(frozen=True, kw_only=True)
class FileSpec:
    """One file of a data set: `records` records of equal size, after an IDX header if it has a `magic`."""

    path: str  # below the data root, with slashes
    split: Split
    records: int  # in the complete file
    record_shape: tuple[int, ...]  # in bytes; () is a single byte
    magic: int = 0  # first four bytes of an IDX file; 0: no header at all
    md5: str | None = None  # of the complete, uncompressed file, where known
    head_md5: str | None = None  # of the records that it begins with: the first image, the first ten labels
    url: str = ""  # what serves this file, compressed or inside an archive
    url_md5: str = ""  # of what `url` serves

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
    packed_md5s: tuple[str, ...],
    md5s: tuple[str | None, ...],
    head_md5s: tuple[str | None, ...],
) -> tuple[FileSpec, ...]:
    return tuple(
        FileSpec(
            path=f"{task}/raw/{name}",
            split="train" if name.startswith("train") else "test",
            records=60_000 if name.startswith("train") else 10_000,
            record_shape=(28, 28) if "images" in name else (),
            magic=0x0803 if "images" in name else 0x0801,
            md5=md5,
            head_md5=head_md5,
            url=f"{url}{name}.gz",
            url_md5=packed_md5,
        )
        for name, packed_md5, md5, head_md5 in zip(IDX_NAMES, packed_md5s, md5s, head_md5s, strict=True)
    )


_MNIST_FILES = _idx_files(
    "MNIST",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
    ),
    (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
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
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    (None, None, None, None),
    (None, "385c7d93db438f7176cc4f4c426c192b", None, "d8743a11eec3f7319f1f29195dde6b3f"),
)
_CIFAR10_FILES = tuple(
    FileSpec(
        path=f"{CIFAR10_BINARY_FOLDER}/{name}.bin",
        split="test" if name == "test_batch" else "train",
        records=10_000,
        record_shape=(1 + 3 * 32 * 32,),  # the label, then red, green and blue, row by row
        url="https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        url_md5="c32a1d4ab5d03f1284b67883e8d87530",
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
