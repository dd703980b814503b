"""SwarmUI's webhook as its source has it: ``src/Utils/WebhookManager.cs`` and what that calls.

Read at 062407c (August 2026; MIT): how tags are filled in, what is escaped, and what is sent. It is
written anew here, from what was read there; names in docstrings are those of SwarmUI.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

KNOWN = frozenset({
    "prompt", "negativeprompt", "model", "seed", "steps", "cfgscale", "width", "height", "vae",
    "batchsize", "initimagecreativity", "refinercontrolpercentage", "refinerupscale",
    "refinerupscalemethod", "refinersteps", "refinermodel", "clipstopatlayer", "fluxguidancescale",
    "sigmashift", "variationseed", "variationseedstrength", "loraweights", "loras", "sampler",
    "scheduler",
})  # fmt: skip
"""Parameters that are registered; sampler and scheduler by the ComfyUI backend's extension."""


@dataclass
class Generation:
    """``T2IParamInput``: what was set of what is known, and in which order.

    Attributes:
        values: ``InternalSet.ValuesInput``.
        known: What ``T2IParamTypes.TryGetType`` finds.
    """

    values: Mapping[str, Any]
    known: frozenset[str] = field(default_factory=lambda: KNOWN)

    def fill(self, tag: str) -> str | None:
        """``OutpathFillHelper.FillPartUnformatted``; None where the tag stays as it is."""
        special = {
            "prompt": "prompt", "negative_prompt": "negativeprompt", "seed": "seed",
            "cfg_scale": "cfgscale", "width": "width", "height": "height", "steps": "steps",
        }  # fmt: skip
        if tag in special:
            return str(self.values.get(special[tag], ""))
        if tag == "model":
            return _simple_model(str(self.values.get("model", "unknown")))
        if tag == "loras":
            return "-".join(map(_simple_model, self.values.get("loras", ())))
        clean = "".join(c for c in tag.lower().strip() if "a" <= c <= "z")
        if clean not in self.known:
            return None
        value = self.values.get(clean, "")
        return ",".join(value) if isinstance(value, list) else str(value)


def _simple_model(name: str) -> str:
    return name.replace("\\", "/").strip().removesuffix(".safetensors")


def _escaped(text: str) -> str:
    """``Utilities.EscapeJsonString``."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r"),
                           ("\b", "\\b"), ("\t", "\\t"), ("\f", "\\f"), ("/", "\\/")):  # fmt: skip
        text = text.replace(plain, escaped)
    return "".join(c if ord(c) >= 32 else f"\\u{ord(c):04X}" for c in text)


def filled(data: str, generation: Generation | None, image: str | None) -> dict[str, Any]:
    """``ParseJsonForHook``: tags are filled in within the text, which is parsed then."""
    data = data.strip()
    output, last, start = "", 0, data.find("%") if generation is not None else -1
    while start != -1 and generation is not None:
        end = data.find("%", start + 1)
        if end == -1:
            break
        tag, value = data[start + 1 : end], None
        if not (len(tag) > 256 or any(c in tag for c in '\\\n"')):
            if tag == "image" and image is not None:
                value = image
                if image.startswith(("View/", "Output/")):
                    value = "http://localhost:7801/" + image.replace(" ", "%20")
            else:
                value = generation.fill(tag)
        output += data[last : end + 1] if value is None else data[last:start] + _escaped(value)
        last = end + 1
        start = data.find("%", end + 1)
    parsed = json.loads(output + data[last:] if data else "{}")
    assert isinstance(parsed, dict)  # JObject.Parse
    return parsed


def send(
    address: str, data: str, generation: Generation | None = None, image: str | None = None
) -> tuple[int, dict[str, Any]]:
    """``SendWebhook``: one POST with the headers of .NET's client, and none that one may choose."""
    to = urlsplit(address)
    assert to.hostname is not None
    body = json.dumps(
        filled(data, generation, image), ensure_ascii=False, separators=(",", ":")
    ).encode()
    connection = http.client.HTTPConnection(to.hostname, to.port, timeout=600)
    try:
        connection.putrequest(
            "POST", f"{to.path}?{to.query}" if to.query else to.path, skip_accept_encoding=True
        )
        connection.putheader("User-Agent", "SwarmUI/0.9.7.4")
        connection.putheader("Content-Type", "application/json")
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()
