"""xmp_mirror: what people said of a picture, as the sidecar that photo programs read.

``xmp:Rating`` is 1 to 5, and -1 for a rejected picture (XMP specification, part 2). A reject is a
flag of its own here and wins over stars, as the one number has no place for both.
"""

from __future__ import annotations

import math

__all__ = ["is_own_packet", "xmp_packet"]

_TOOLKIT = "safelight"
_PACKET = """\
<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/" x:xmptk="{toolkit}">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="{rating}"/>
 </rdf:RDF>
</x:xmpmeta>
<?xpacket end="w"?>
"""


def xmp_packet(stars: float | None, *, rejected: bool) -> bytes | None:
    """Return a sidecar for stars (1 to 5, half stars are rounded up) or a reject.

    None when there is nothing to say, or nothing that XMP could say.
    """
    if rejected:
        rating = -1
    elif stars is not None and 0 < stars <= 5:
        rating = max(1, math.floor(stars + 0.5))
    else:
        return None
    return _PACKET.format(toolkit=_TOOLKIT, rating=rating).encode()


def is_own_packet(data: bytes) -> bool:
    """Say whether a sidecar was written by :func:`xmp_packet`, so that it may be replaced."""
    return f'x:xmptk="{_TOOLKIT}"'.encode() in data[:1000]
