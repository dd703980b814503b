"""Hypothesis strategies for everything that is serialised."""

from __future__ import annotations

from hypothesis import strategies as st

from safelight.learning import ImageOutput, LearningRecord, Mismatch, VariantFailure

text = st.text(st.characters(codec="utf-8"), max_size=30)
numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=10,
)
knobs = st.dictionaries(
    st.sampled_from(["prompt", "steps", "cfg_scale", "sampler", "seed", "extra"]), json_values
)
configs = st.dictionaries(st.sampled_from(["txt2img", "img2img", "upscale"]), knobs, max_size=3)
digests = st.text("0123456789abcdef", min_size=64, max_size=64)
seconds = st.floats(0, 1e6)

mismatches = st.builds(Mismatch, knob=text, requested=json_values, effective=json_values)
outputs = st.builds(
    ImageOutput,
    variant=st.integers(0, 999),
    stage=st.sampled_from(["txt2img", "img2img", "upscale"]),
    path=st.none() | text,
    sha256=digests,
    pixel_sha256=digests,
    width=st.integers(1, 16384),
    height=st.integers(1, 16384),
    seed=st.none() | st.integers(0, 2**64 - 1),
    seconds=seconds,
    mismatches=st.lists(mismatches, max_size=2).map(tuple),
    parent=st.none() | digests,
)
failures = st.builds(
    VariantFailure, variant=st.integers(0, 999), stage=st.just("txt2img"), error=text
)

learning_records = st.builds(
    LearningRecord,
    run_id=st.text("0123456789abcdef", min_size=1, max_size=16),
    timestamp=st.datetimes().map(lambda moment: moment.isoformat() + "Z"),
    base_config=configs,
    variant_configs=st.lists(configs, max_size=3),
    randomizer_mode=st.sampled_from(["off", "fanout", "random", "sequential", "rotate"]),
    randomizer_plan_size=st.integers(0, 10**12),
    primary_model=text,
    primary_sampler=text,
    primary_scheduler=text,
    primary_steps=st.integers(0, 10_000),
    primary_cfg_scale=st.integers(0, 30) | st.floats(0, 30),
    status=st.sampled_from(["completed", "partial", "failed", "cancelled", "interrupted"]),
    error=st.none() | text,
    name=text,
    plan_id=st.none() | text,
    plan_seed=st.none() | st.integers(0, 2**64),
    outputs=st.lists(outputs, max_size=2).map(tuple),
    failures=st.lists(failures, max_size=2).map(tuple),
    warnings=st.lists(text, max_size=2).map(tuple),
    backend=st.dictionaries(text, json_values, max_size=2),
    environment=st.dictionaries(text, json_values, max_size=2),
    template=st.dictionaries(text, json_values, max_size=2),
    seconds=st.dictionaries(st.sampled_from(["txt2img", "upscale"]), seconds),
    metadata=st.dictionaries(text, json_values, max_size=2),
)
