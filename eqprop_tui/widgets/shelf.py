"""The tree of presets: groups by tag, a person's own ones last, and what each lacks on the right."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.style import Style
from rich.text import Text
from textual.widgets import Tree
from textual.widgets.tree import TreeNode

from eqprop_core.presets import Preset
from eqprop_tui.library import divided, grouped, shortened
from eqprop_tui.looks import Looks

OWN = "mine"
MARK_GAP = 2


@dataclass(frozen=True)
class Leaf:
    """A preset in the tree, its name without what its neighbours share, and the width that names need."""

    preset: Preset
    short: str
    longest: int


class Shelf(Tree[Leaf]):
    """Presets by group; marks by name stand flush right."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__("presets", id=id)
        self.show_root = False
        self.show_guides = False
        self.guide_depth = 2
        self.marks: Mapping[str, str] = {}

    def fill(self, presets: Sequence[Preset], at: str | None) -> None:
        """Show these presets, all groups open, with the cursor on the one named, or else on the first."""
        self.clear()
        shipped = [preset for preset in presets if preset.shipped]
        for group, members in grouped(shipped).items():
            branch = self.root.add(Text(group), expand=True)
            for part, some in divided(members).items():
                self._add(branch.add(Text(part), expand=True) if part else branch, some)
        if own := [preset for preset in presets if not preset.shipped]:
            self._add(self.root.add(Text(OWN), expand=True), own)
        self.root.expand()
        self.go_to(at)

    def _add(self, branch: TreeNode[Leaf], presets: Sequence[Preset]) -> None:
        names = [preset.name for preset in presets]
        longest = max(map(len, names))
        for preset, short in zip(presets, shortened(names), strict=True):
            branch.add_leaf(Text(preset.name), Leaf(preset, short, longest))

    def go_to(self, name: str | None) -> None:
        """Put the cursor on a preset, or on the first one."""
        leaves = [node for node in self._leaves_and_groups() if node.data is not None]
        found = [node for node in leaves if node.data and node.data.preset.name == name] or leaves
        if found:
            assert self.last_line >= 0  # asking for it gives each node its line
            self.move_cursor(found[0])
            self.call_after_refresh(self._into_sight)

    def _into_sight(self) -> None:
        """The top of the tree, if the cursor is in sight then."""
        self.scroll_home(animate=False)
        self.scroll_to_line(self.cursor_line, animate=False)

    def _leaves_and_groups(self) -> list[TreeNode[Leaf]]:
        waiting, found = list(self.root.children), []
        while waiting:
            node = waiting.pop(0)
            found.append(node)
            waiting = [*node.children, *waiting]
        return found

    def mark(self, marks: Mapping[str, str]) -> None:
        """Show other marks, by name of a preset."""
        self.marks = marks
        self._invalidate()
        self.refresh()

    @property
    def chosen(self) -> Preset | None:
        """The preset under the cursor."""
        node = self.cursor_node
        return node.data.preset if node is not None and node.data is not None else None

    def render_label(self, node: TreeNode[Leaf], base_style: Style, style: Style) -> Text:
        """A group with its sign, or a preset with its mark."""
        looks = Looks.of(self.app)
        if node.data is None:
            sign = "▾ " if node.is_expanded else "▸ "
            return Text.assemble((sign, base_style), (str(node.label), style))
        depth, above = 0, node.parent
        while above is not None and above is not self.root:
            depth, above = depth + 1, above.parent
        mark = self.marks.get(node.data.preset.name, "")
        room = self.size.width - self.guide_depth * depth - 1
        widest = room - MARK_GAP - max(map(cell_len, self.marks.values()), default=0)
        name = node.data.preset.name if node.data.longest <= widest else node.data.short
        text = Text(name, style)
        text.truncate(max(4, room - cell_len(mark) - (MARK_GAP if mark else 0)), overflow="ellipsis")
        if mark:
            text.append(" " * max(1, room - text.cell_len - cell_len(mark)), base_style)
            text.append(mark, Style.parse(looks.colour("bad")))
        return text
