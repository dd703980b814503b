"""XMP packets: the description, the comment and the graph that some tools put there.

Read with patterns and not with an XML parser, so that no entity is ever expanded.
"""

from __future__ import annotations

import html
import re

__all__ = ["xmp_texts"]

_MAX_PACKET = 4 * 2**20
_PLACES = (
    ("xmp:description", "dc:description"),
    ("exif:UserComment", "exif:UserComment"),
    ("exif:Software", "xmp:CreatorTool"),
    ("prompt", "comfy:prompt"),
    ("workflow", "comfy:workflow"),
    ("parameters", "sdcpp:parameters"),
)


def xmp_texts(packet: str) -> dict[str, str]:
    """Return place -> text of a packet: its description, comment, creator tool and graph."""
    texts: dict[str, str] = {}
    packet = packet[:_MAX_PACKET]
    for place, tag in _PLACES:
        start = packet.find(f"<{tag}")
        if start < 0:
            if match := re.search(rf'\b{tag}="([^"]*)"', packet):
                texts[place] = html.unescape(match[1])
            continue
        end = packet.find(f"</{tag}>", start)
        body = packet[packet.find(">", start) + 1 : end] if end > 0 else ""
        inner = re.search(r"<rdf:li[^>]*>([^<]*)</rdf:li>", body)
        text = html.unescape(inner[1] if inner else body).strip()
        if text and "<" not in body.replace("<rdf:", "").replace("</rdf:", "")[:1]:
            texts[place] = text
    return texts
