"""Folders of images as people have them: which folder is what, which files are images of which class.

Read as torchvision's ImageFolder reads them: classes are the folders in train/ in the order of their names;
images lie anywhere below, links to folders included. What is not used is counted, with the reason.
Looks at names alone; whether a file is an image is found out by `eqprop_core.data`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from eqprop_core.published import SPLITS, DataError, NoSuchFolderError, Split
from eqprop_core.spelling import beside, mistaken_for, pairs_alike, spelled

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
FOLDERS: dict[Split, tuple[str, ...]] = {  # the first of these that is there, in letters of either case
    "train": ("train", "training"),
    "test": ("test", "val", "valid", "validation", "testing"),
}
MOST_NAMED = 5  # classes in a message

Reason = tuple[str, str]  # of one file, and of several
OTHER_KIND: Reason = "file of another kind", "files of other kinds"
HIDDEN: Reason = "hidden file", "hidden files"
DEAD_LINK: Reason = "link that leads nowhere", "links that lead nowhere"
READ_ALREADY: Reason = "link to a folder read already", "links to folders read already"
NO_CLASS: Reason = "image in no class folder", "images in no class folder"
NO_FILE: Reason = "name of what is no file", "names of what are no files"
LOCKED: Reason = "folder that may not be read", "folders that may not be read"
REASONS = (OTHER_KIND, HIDDEN, DEAD_LINK, READ_ALREADY, NO_CLASS, NO_FILE, LOCKED)


@dataclass
class LeftOut:
    """Files and folders that are not used: how many for each reason and suffix, and the first by its name."""

    counts: dict[tuple[Reason, str], int] = field(default_factory=dict)
    examples: dict[Reason, str] = field(default_factory=dict)

    def add(self, why: Reason, path: str, suffix: str = "") -> None:
        """Count one."""
        self.counts[why, suffix] = self.counts.get((why, suffix), 0) + 1
        self.examples[why] = min(path, self.examples.get(why, path))

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    def lines(self, root: Path) -> list[str]:
        """A line for each reason: how many, with which suffixes, and which is the first of them."""
        said = []
        for why in REASONS:
            suffixes = {suffix: n for (one, suffix), n in sorted(self.counts.items()) if one == why}
            if not suffixes:
                continue
            kinds = [f"{n:,} {suffix}" for suffix, n in suffixes.items() if suffix]
            more = ", …" if len(kinds) > MOST_NAMED else ""
            some = f" ({', '.join(kinds[:MOST_NAMED])}{more})" if kinds else ""
            count = sum(suffixes.values())
            such = ", such as" if count > 1 else ":"
            first = spelled(os.path.relpath(self.examples[why], root))
            advice = "; a .jfif is read once it is called .jpg" if ".jfif" in suffixes else ""
            said.append(f"{count:,} {why[count > 1]}{some}{such} {first}{advice}")
        return said


@dataclass(frozen=True)
class Counts:
    """How many images an image folder has, and of which classes."""

    classes: tuple[str, ...]
    train: int
    test: int


@dataclass(frozen=True)
class ImageFolder:
    """An image folder: its folder of each split, and the images there by class, sorted."""

    root: Path
    folders: Mapping[Split, Path]
    images: Mapping[Split, Mapping[str, tuple[str, ...]]]  # paths
    left_out: LeftOut
    remarks: tuple[str, ...]
    looked_into: Mapping[str, int]  # folders, and when each had changed last, in nanoseconds

    @property
    def counts(self) -> Counts:
        """How many images there are, and of which classes, in the order of their labels."""
        train, test = (sum(map(len, self.images[split].values())) for split in SPLITS)
        return Counts(tuple(self.images["train"]), train, test)


def survey(root: Path) -> ImageFolder:
    """All images of an image folder, found by their names.

    Raises `DataError` where it is none: train and test differ in their classes, or one has no images.
    """
    folders, classes = split_folders(root)
    left_out = LeftOut()
    looked_into = {str(folder): Path(folder).stat().st_mtime_ns for folder in (root, *folders.values())}
    remarks = list(_remarks(root, folders, classes))
    images: dict[Split, dict[str, tuple[str, ...]]] = {}
    for split in SPLITS:
        _beside_classes(folders[split], left_out)
        images[split] = {}
        for name in classes:
            folder = folders[split] / name
            found = tuple(_images_below(str(folder), left_out, looked_into))
            if not found:
                raise DataError(_no_images(folder, root))
            images[split][name] = found
    return ImageFolder(root, folders, images, left_out, tuple(remarks), looked_into)


def counts(root: Path) -> Counts:
    """What `survey` counts, remembered while no folder below has changed: a form asks at every key.

    Raises `DataError`.
    """
    key = root.absolute()
    if (known := _known.get(key)) is not None and _unchanged(known[1]):
        return known[0]
    began = time.time_ns()
    folder = survey(root)
    _known.clear()  # one at a time is asked for
    if max(folder.looked_into.values()) < began - SETTLED:  # what changes now would keep the time that it has
        _known[key] = (folder.counts, folder.looked_into)
    return folder.counts


SETTLED = 2_000_000_000  # nanoseconds: coarser is no file system's clock
_known: dict[Path, tuple[Counts, Mapping[str, int]]] = {}


def _unchanged(looked_into: Mapping[str, int]) -> bool:
    try:
        return all(Path(folder).stat().st_mtime_ns == when for folder, when in looked_into.items())
    except OSError:
        return False


def split_folders(root: Path) -> tuple[dict[Split, Path], tuple[str, ...]]:
    """The folders of the training and the test images, and the names of the classes in both, sorted.

    Quick: of all that is below, only the names of class folders are read. Raises `DataError`.
    """
    try:
        there = _folders_in(root)
    except (FileNotFoundError, NotADirectoryError):
        there = {}
    chosen = {split: [there[name] for name in FOLDERS[split] if name in there] for split in SPLITS}
    for split, paths in chosen.items():
        if not paths:
            raise NoSuchFolderError(
                f"{root / split} is no folder: an image folder holds {_LAYOUT}{_where_instead(root, there)}"
            )
    classes = {path: class_names(path) for paths in chosen.values() for path in paths}
    train = chosen["train"][0]
    test = next((path for path in chosen["test"] if classes[path] == classes[train]), chosen["test"][0])
    for path in (train, test):
        if not classes[path]:
            said = " (the images that lie there belong to no class)" if _holds_images(path) else ""
            raise DataError(f"{path} is empty: it needs one folder of images for each class{said}")
    if classes[train] != classes[test]:
        raise DataError(_differing(root, train, test, classes))
    return {"train": train, "test": test}, classes[train]


_LAYOUT = (
    "train/<class>/ and test/<class>/ (or val/<class>/) with images in each, and is chosen by --data-dir or "
    "EQPROP_DATA"
)


def class_names(folder: Path) -> tuple[str, ...]:
    """The folders in a folder, sorted by name, without those that are hidden, and links that lead back."""
    with os.scandir(folder) as entries:
        return tuple(sorted(e.name for e in entries if not e.name.startswith(".") and _is_class(e)))


def _is_class(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a split's folder is a class: a folder, and no link to one in which it lies."""
    return _is_folder(entry) and not (
        entry.is_symlink() and _identity(entry.path) in set(map(_identity, _above(entry.path)))
    )


def _folders_in(root: Path) -> dict[str, Path]:
    """The folders in a folder by their names in small letters; a name in small letters goes first."""
    with os.scandir(root) as entries:
        names = sorted(
            (e.name for e in entries if _is_folder(e)), key=lambda name: (name != name.lower(), name)
        )
    found: dict[str, Path] = {}
    for name in names:
        found.setdefault(name.lower(), root / name)
    return found


def is_image(entry: os.DirEntry[str]) -> bool:
    """Whether an entry of a folder is an image by its name, and a file."""
    return not entry.name.startswith(".") and entry.name.lower().endswith(IMAGE_SUFFIXES) and _is_file(entry)


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link that leads to itself
        return False


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _images_below(folder: str, left_out: LeftOut, looked_into: dict[str, int]) -> Iterator[str]:
    """Paths of the images anywhere below a class folder, in torchvision's order: by folder, then by name.

    A link to a folder is followed once all that is no link has been read, unless it leads to a folder that
    was read for this class, or to one that it lies in.
    """
    read: set[tuple[int, int]] = set()
    found: list[tuple[str, list[str]]] = []
    folders, links = [folder], list[str]()
    while folders or links:
        if folders:
            at = folders.pop()
        else:
            links.sort(reverse=True)
            at = links.pop()
            # What was read is looked up once there is a link at all, as there seldom is.
            read = read or {_identity(path) for path in (*_above(folder), *(path for path, _ in found))}
            if _identity(at) in read:
                left_out.add(READ_ALREADY, at)
                continue
        if read:
            read.add(_identity(at))
        names: list[str] = []
        looked_into[at] = Path(at).stat().st_mtime_ns
        try:
            with os.scandir(at) as entries:
                for entry in entries:
                    name = entry.name
                    if name.startswith("."):
                        left_out.add(HIDDEN, entry.path)
                    elif name.lower().endswith(IMAGE_SUFFIXES) and _is_file(entry):
                        names.append(name)
                    elif _is_folder(entry):
                        (links if entry.is_symlink() else folders).append(entry.path)
                    else:
                        _count(entry, left_out)
        except PermissionError:
            left_out.add(LOCKED, at)
        found.append((at, names))
    for at, names in sorted(found):
        yield from (f"{at}/{name}" for name in sorted(names))


def _above(folder: str) -> list[str]:
    """The folders in which a folder lies, by its path and, where there are links, in truth."""
    paths = (Path(folder).absolute(), Path(folder).resolve())
    return [str(above) for above in dict.fromkeys(above for path in paths for above in path.parents)]


def _identity(path: str) -> tuple[int, int]:
    status = Path(path).stat()
    return status.st_dev, status.st_ino


def _count(entry: os.DirEntry[str], left_out: LeftOut) -> None:
    """Count a file that is no image by its name or its nature."""
    suffix = Path(entry.name).suffix.lower()
    if entry.is_symlink() and not Path(entry.path).exists():
        left_out.add(DEAD_LINK, entry.path)
    elif suffix in IMAGE_SUFFIXES or not Path(entry.path).is_file():
        left_out.add(NO_FILE, entry.path)
    else:
        left_out.add(OTHER_KIND, entry.path, suffix or "without a suffix")


def _beside_classes(folder: Path, left_out: LeftOut) -> None:
    """Count what lies in a split's folder beside the folders of its classes."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                left_out.add(HIDDEN, entry.path)
            elif entry.name.lower().endswith(IMAGE_SUFFIXES) and _is_file(entry):
                left_out.add(NO_CLASS, entry.path)
            elif not _is_folder(entry):
                _count(entry, left_out)
            elif not _is_class(entry):
                left_out.add(READ_ALREADY, entry.path)


def _holds_images(folder: Path) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(IMAGE_SUFFIXES) for entry in entries)


def _remarks(root: Path, folders: Mapping[Split, Path], classes: tuple[str, ...]) -> Iterator[str]:
    """What is to be said although nothing is wrong."""
    test = folders["test"].name
    others = [
        path.name
        for name, path in sorted(_folders_in(root).items())
        if name in (*FOLDERS["train"], *FOLDERS["test"]) and path not in folders.values()
    ]
    if test.lower() != "test":
        yield f"the images in {test}/ are taken as the test images"
    if others:
        yield f"{', '.join(f'{name}/' for name in others)} {'is' if len(others) == 1 else 'are'} not used"
    for one, other in pairs_alike(classes):
        yield f"two classes look alike: {spelled(one)} and {spelled(other)}"


def _differing(root: Path, train: Path, test: Path, classes: Mapping[Path, tuple[str, ...]]) -> str:
    """In which classes the two splits differ, spelled out where two names look the same."""
    only = {
        path: sorted(set(classes[path]) - set(classes[other]))
        for path, other in ((train, test), (test, train))
    }

    def some(path: Path, other: Path) -> str:
        names = [beside(name, only[other]) for name in only[path][:MOST_NAMED]]
        more = len(only[path]) - len(names)
        return (", ".join(names) or "none") + (f" and {more:,} more" if more else "")

    return (
        f"the classes in {root} differ between {train.name} and {test.name}: only in {train.name}: "
        f"{some(train, test)}; only in {test.name}: {some(test, train)}. Both need the same class folders"
    )


def _no_images(folder: Path, root: Path) -> str:
    """What is wrong with a class in which no image was found, and what lies there instead."""
    there = LeftOut()
    list(_images_below(str(folder), there, {}))
    found = ", ".join(there.lines(root))
    instead = f"; there {'is' if found.startswith('1 ') else 'are'} {found}" if found else ""
    return (
        f"no images in {folder}: every class needs at least one, there or in folders inside, with one of the "
        f"suffixes {' '.join(IMAGE_SUFFIXES)}{instead}"
    )


def _where_instead(root: Path, there: Mapping[str, Path]) -> str:
    """A hint where another folder was meant: one whose name looks the same, the one above, or one inside."""
    root = root.absolute()
    if not root.is_dir():
        return mistaken_for(root)
    if root.name.lower() in (*FOLDERS["train"], *FOLDERS["test"]) and _is_one(root.parent):
        return f"; --data-dir {root.parent} is one"
    inside = next((path for path in there.values() if _is_one(path)), None)
    return "" if inside is None else f"; --data-dir {inside} is one"


def _is_one(folder: Path) -> bool:
    """Whether a folder holds those of both splits."""
    try:
        there = _folders_in(folder)
    except OSError:
        return False
    return all(any(name in there for name in FOLDERS[split]) for split in SPLITS)
