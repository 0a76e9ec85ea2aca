"""Kubernetes quantities (``500m``, ``1.5Gi``, ``2e3``) as exact fractions.

Pure and total: any text either parses or raises ``BadQuantity``; the size of what is computed is
bounded, however large an exponent the text names.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction

from shared.errors import PermanentError

_FORM = re.compile(r"([+-]?)([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([numkKMGTPE]?i?|[eE][+-]?[0-9]{1,3})")
_SUFFIXES = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 1000),
    "": Fraction(1),
    **{suffix: Fraction(1000**power) for power, suffix in enumerate("kMGTPE", start=1)},
    **{f"{suffix}i": Fraction(1024**power) for power, suffix in enumerate("KMGTPE", start=1)},
}
_DECIMAL = ("", "k", "M", "G", "T", "P", "E")
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_LONGEST = 64
_LARGEST_EXPONENT = 30
_MOST = 2**63 - 1
"""What Kubernetes, runtimes and kernels count up to."""


class BadQuantity(PermanentError):
    """Not a quantity."""


def parse(text: object) -> Fraction:
    """``"100m"`` → 1/10. Numbers are taken too: YAML writes ``cpu: 1`` as one. What is more than
    anybody can count is the most that can be."""
    written = str(text) if isinstance(text, int | float) and text is not True else text
    found = _FORM.fullmatch(written) if isinstance(written, str) else None
    if found is None or len(found[0]) > _LONGEST:
        raise BadQuantity(f"{text!r:.80} is not a quantity")
    sign, number, suffix = found.groups()
    amount = min(Fraction(number) * _factor(suffix, text), Fraction(_MOST))
    return -amount if sign == "-" else amount


def _factor(suffix: str, text: object) -> Fraction:
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if len(suffix) > 1 and suffix[0] in "eE":
        exponent = int(suffix[1:])
        if abs(exponent) <= _LARGEST_EXPONENT:
            return Fraction(10) ** exponent
    raise BadQuantity(f"{text!r:.80} is not a quantity")


def whole(amount: Fraction) -> int:
    """Rounded away from zero, as Kubernetes rounds. A sum can be more than can be counted, too."""
    return max(min(_rounded(amount), _MOST), -_MOST)


def text(amount: Fraction, *, binary: bool) -> str:
    """As Kubernetes writes it back: the largest suffix that leaves nothing over; thousandths are
    the finest. ``binary`` for bytes, where they are of 1024."""
    thousandths = milli(amount)
    if thousandths % 1000:
        return f"{thousandths}m"
    number = thousandths // 1000
    suffixes, factor = (_BINARY, 1024) if binary and number % 1024 == 0 else (_DECIMAL, 1000)
    power = 0
    while number and number % factor == 0 and power < len(suffixes) - 1:
        number, power = number // factor, power + 1
    return f"{number}{suffixes[power]}"


def milli(amount: Fraction) -> int:
    return _rounded(amount * 1000)


def _rounded(amount: Fraction) -> int:
    return math.ceil(amount) if amount > 0 else math.floor(amount)
