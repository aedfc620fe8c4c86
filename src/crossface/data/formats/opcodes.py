"""Plain values out of a pickle stream, by an interpreter that cannot call anything.

It knows lists, tuples, bytes, text, integers and bools of protocols 0 to 5, and the operations on
the stack and the memo that build them. Every other opcode, each of those that import, call or set
something among them, is refused by name. Strings of Python 2 come back as bytes.

Format: CPython ``Lib/pickletools.py``.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable

from crossface.core.errors import DataError

Value = list["Value"] | tuple["Value", ...] | bytes | str | int | bool

MAX_STEPS = 4_000_000
MAX_DIGITS = 20

_REFUSED = {
    "R": "REDUCE", "b": "BUILD", "c": "GLOBAL", "i": "INST", "o": "OBJ", "P": "PERSID",
    "Q": "BINPERSID", "d": "DICT", "}": "EMPTY_DICT", "s": "SETITEM", "u": "SETITEMS",
    "F": "FLOAT", "G": "BINFLOAT", "N": "NONE", "\x81": "NEWOBJ", "\x82": "EXT1",
    "\x83": "EXT2", "\x84": "EXT4", "\x8f": "EMPTY_SET", "\x90": "ADDITEMS", "\x91": "FROZENSET",
    "\x92": "NEWOBJ_EX", "\x93": "STACK_GLOBAL", "\x96": "BYTEARRAY8", "\x97": "NEXT_BUFFER",
    "\x98": "READONLY_BUFFER",
}  # fmt: skip

_ESCAPE = re.compile(rb"\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|.)", re.DOTALL)
_ESCAPED = {
    b"n": b"\n", b"r": b"\r", b"t": b"\t", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v",
    b"\\": b"\\", b"'": b"'", b'"': b'"',
}  # fmt: skip


def read_plain(data: bytes, *, place: str) -> Value:
    """The one value of a pickle stream.

    Args:
        data: the whole stream.
        place: name of the file, for errors.

    Raises:
        DataError: naming the file, the opcode and its offset.
    """
    return _Reader(data, place).run()


class _Reader:
    def __init__(self, data: bytes, place: str) -> None:
        self.data = data
        self.place = place
        self.position = 0
        self.opcode_at = 0
        self.stack: list[Value] = []
        self.marks: list[int] = []
        self.memo: dict[int, Value] = {}

    def run(self) -> Value:
        for _ in range(MAX_STEPS):
            self.opcode_at = self.position
            opcode = self.take(1)
            if opcode == b".":
                return self.pop()
            operation = _OPERATIONS.get(opcode)
            if operation is None:
                raise self.refuse(opcode)
            operation(self)
        raise self.bad(f"expected at most {MAX_STEPS} operations")

    def bad(self, problem: str) -> DataError:
        return DataError(f"{self.place}: byte {self.opcode_at}: {problem}")

    def refuse(self, opcode: bytes) -> DataError:
        name = _REFUSED.get(opcode.decode("latin-1"))
        shown = f"opcode {name}" if name else f"unknown opcode {opcode!r}"
        return self.bad(
            f"{shown} refused: only lists, tuples, bytes, text, integers and bools are read"
        )

    def take(self, size: int) -> bytes:
        end = self.position + size
        if size < 0 or end > len(self.data):
            raise self.bad(f"truncated: {size} bytes are announced, the file has {len(self.data)}")
        part = self.data[self.position : end]
        self.position = end
        return part

    def line(self) -> bytes:
        end = self.data.find(b"\n", self.position)
        if end < 0:
            raise self.bad("truncated: a line has no end")
        part = self.data[self.position : end]
        self.position = end + 1
        return part

    def number(self, layout: str) -> int:
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def decimal(self) -> int:
        text = self.line()
        if not re.fullmatch(rb"-?\d{1,%d}L?" % MAX_DIGITS, text):
            raise self.bad(f"expected an integer of at most {MAX_DIGITS} digits")
        return int(text.rstrip(b"L"))

    def push(self, value: Value) -> None:
        self.stack.append(value)

    def pop(self) -> Value:
        if len(self.stack) <= (self.marks[-1] if self.marks else 0):
            raise self.bad("a value is missing on the stack")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Value]:
        if not self.marks:
            raise self.bad("a mark is missing on the stack")
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def extend_top(self, items: list[Value]) -> None:
        target = self.pop()
        if not isinstance(target, list):
            raise self.bad("expected a list to append to")
        target.extend(items)
        self.push(target)

    def remember(self, slot: int) -> None:
        value = self.pop()
        self.push(value)
        self.memo[slot] = value

    def recall(self, slot: int) -> None:
        if slot not in self.memo:
            raise self.bad(f"memo slot {slot} is empty")
        self.push(self.memo[slot])

    def push_text(self, raw: bytes, encoding: str) -> None:
        try:
            self.push(raw.decode(encoding, "surrogatepass" if encoding == "utf-8" else "strict"))
        except UnicodeDecodeError:
            raise self.bad(f"text is not {encoding}") from None

    def push_quoted(self) -> None:
        text = self.line().strip()
        if len(text) < 2 or text[:1] not in b"'\"" or text[:1] != text[-1:]:
            raise self.bad("expected a quoted string")
        self.push(_ESCAPE.sub(_unescape, text[1:-1]))

    def push_int_or_bool(self) -> None:
        start = self.position
        text = self.line()
        if text in (b"00", b"01"):
            self.push(text == b"01")
        else:
            self.position = start
            self.push(self.decimal())

    def push_long(self, size: int) -> None:
        if size > 2 * MAX_DIGITS:
            raise self.bad(f"expected an integer of at most {2 * MAX_DIGITS} bytes")
        self.push(int.from_bytes(self.take(size), "little", signed=True))

    def push_tuple(self, size: int) -> None:
        items = [self.pop() for _ in range(size)]
        self.push(tuple(reversed(items)))

    def append(self) -> None:
        value = self.pop()
        self.extend_top([value])

    def duplicate(self) -> None:
        value = self.pop()
        self.stack += [value, value]

    def drop(self) -> None:
        # A mark on top of the stack is what POP removes, as in CPython.
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.pop()


def _unescape(match: re.Match[bytes]) -> bytes:
    code = match.group(1)
    if code[:1] == b"x" and len(code) == 3:
        return bytes([int(code[1:], 16)])
    if code.isdigit():
        return bytes([int(code, 8) & 0xFF])
    return _ESCAPED.get(code, match.group(0))


_OPERATIONS: dict[bytes, Callable[[_Reader], object]] = {
    b"\x80": lambda r: r.take(1),  # PROTO
    b"\x95": lambda r: r.take(8),  # FRAME: how far to buffer, of no meaning here
    b"(": lambda r: r.marks.append(len(r.stack)),
    b"0": _Reader.drop,
    b"1": _Reader.pop_to_mark,
    b"2": _Reader.duplicate,
    b"]": lambda r: r.push([]),
    b"l": lambda r: r.push(r.pop_to_mark()),
    b"a": _Reader.append,
    b"e": lambda r: r.extend_top(r.pop_to_mark()),
    b")": lambda r: r.push(()),
    b"t": lambda r: r.push(tuple(r.pop_to_mark())),
    b"\x85": lambda r: r.push_tuple(1),
    b"\x86": lambda r: r.push_tuple(2),
    b"\x87": lambda r: r.push_tuple(3),
    b"p": lambda r: r.remember(r.decimal()),
    b"q": lambda r: r.remember(r.number("<B")),
    b"r": lambda r: r.remember(r.number("<I")),
    b"\x94": lambda r: r.remember(len(r.memo)),
    b"g": lambda r: r.recall(r.decimal()),
    b"h": lambda r: r.recall(r.number("<B")),
    b"j": lambda r: r.recall(r.number("<I")),
    b"I": _Reader.push_int_or_bool,
    b"J": lambda r: r.push(r.number("<i")),
    b"K": lambda r: r.push(r.number("<B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"L": lambda r: r.push(r.decimal()),
    b"\x8a": lambda r: r.push_long(r.number("<B")),
    b"\x8b": lambda r: r.push_long(r.number("<i")),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"S": _Reader.push_quoted,
    b"T": lambda r: r.push(r.take(r.number("<i"))),
    b"U": lambda r: r.push(r.take(r.number("<B"))),
    b"B": lambda r: r.push(r.take(r.number("<I"))),
    b"C": lambda r: r.push(r.take(r.number("<B"))),
    b"\x8e": lambda r: r.push(r.take(r.number("<Q"))),
    b"V": lambda r: r.push_text(r.line(), "raw-unicode-escape"),
    b"X": lambda r: r.push_text(r.take(r.number("<I")), "utf-8"),
    b"\x8c": lambda r: r.push_text(r.take(r.number("<B")), "utf-8"),
    b"\x8d": lambda r: r.push_text(r.take(r.number("<Q")), "utf-8"),
}
