"""The adaptation benchmark: its draws, and that a tiny model is measured in every way."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from benchmarks.accuracy import unseen
from benchmarks.accuracy.adaptation import DRAWS, Member, draws_of, measure, table
from emoser.adaptation import EVEN, LEAST, STRENGTH, TOLD, UNEVEN, Reference
from emoser.metrics import unweighted_average_recall
from training.model import EmotionModel, Pooled
from training.recipe import Model

LABELS = ("neutral", "happy", "angry")


def test_draws_are_as_large_and_as_one_sided_as_they_say() -> None:
    targets = np.repeat(np.arange(3), 80)
    found = dict(draws_of(targets, LABELS, np.random.default_rng(0)))
    assert {name: len(draws) for name, draws in found.items() if name != "all"} == {name: DRAWS for name in found if name != "all"}
    assert len(found["all"][0]) == 240 and {len(set(draw.tolist())) for draw in found["30 clips"]} == {30}
    assert set(targets[found["100 happy alone"][0]].tolist()) == {1}
    assert Counter(targets[found["two thirds angry"][0]].tolist())[2] == 60


def test_a_moved_corpus_is_won_back() -> None:
    torch.manual_seed(0)
    model = EmotionModel(Model(blocks=1, frozen_blocks=1, head_options={"expansion": 1}), 3).eval()
    random = np.random.default_rng(0)
    targets = np.arange(300) % 3
    width = model.vector_width
    with torch.no_grad():
        model.head.classifier.weight.zero_()
        model.head.classifier.bias.zero_()
        model.head.classifier.weight[:, :3] = 3 * torch.eye(3)
    clean = 0.3 * random.standard_normal((300, width))
    clean[np.arange(300), targets] += 1.0
    speakers = np.array(["ab"[index // 150] for index in range(300)])
    reference = Reference.of(clean, targets, speakers)
    moved = clean.copy()
    moved[:, 0] += 1.5  # everything sounds neutral there
    pooled = Pooled(torch.from_numpy(moved.astype(np.float32)), None, torch.zeros(300, 0, 3))
    member = Member(model, pooled, reference, 1.0, 3)
    measured = measure([member], targets, speakers, LABELS)
    found = measured.uar
    assert found["none"] < 0.5 and found["all"] > found["30 clips"] > found["10 clips"] >= found["none"]
    assert found["each speaker's own, shares told"] >= found["each speaker's own"] > 0.7
    own = measured.own
    assert own["two thirds angry, as it is"] < own["two thirds angry"] < own["two thirds angry, shares told"]
    assert unweighted_average_recall(targets, clean[:, :3].argmax(1)) >= found["all"]
    text = table({"demo": found, "other": {"none": 0.5}})
    assert text.splitlines()[2].startswith(f"| demo | {100 * found['none']:.1f} |") and " - |" in text.splitlines()[3]
    assert measure([member, member], targets, speakers, LABELS).uar == pytest.approx(found)  # the mean of one and the same
    deaf = Member(model, Pooled(torch.zeros(300, width), None, torch.zeros(300, 0, 3)), reference, 1.0, 3)
    assert measure([deaf], targets, speakers, LABELS).uar["all"] == pytest.approx(1 / 3)
    assert measure([member, deaf], targets, speakers, LABELS).uar["none"] == pytest.approx(found["none"])  # one without an opinion


def test_the_page_has_a_mean_where_all_corpora_were_run(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {corpus: {"none": 0.5 + index / 10, "all": 0.8} for index, corpus in enumerate(["ravdess", "emodb", "emovo", "ased", "nemo"])}
    now = {"strength": STRENGTH, "evenness": [UNEVEN, EVEN], "shares_believed": TOLD, "least_share": LEAST, "set": []}
    own = {"right_of_own": {"ravdess": {"all": 0.5, "30 clips, shares told": 0.7}, "nemo": {"all": 0.7}}}
    four = {"labels": list(unseen.LABELS)}
    found = {"one": {"uar": whole, **four, **now, **own}, "two": {"uar": {"nemo": {"none": 0.4}}, **four}}
    monkeypatch.setattr(unseen, "records", lambda: found)
    page = unseen.page()
    (adapted,) = (part for part in page.split("### ") if part.startswith("Adapted to them\n"))
    assert "| **one** ¹ | - | 60.0 | - |" in adapted and "**two**" not in adapted
    assert "| As it is | 50.0 | 60.0 | 70.0 | 80.0 | 90.0 |" in unseen.of("one") and "| all | - | 60.0 | - |" in unseen.own("one")
    assert "| **one** ¹ | 70.0 | 50.0 | 60.0 | 70.0 | 80.0 | 90.0 |" in page
    assert "| **two** ² ¶ | - | - | - | - | - | 40.0 |" in page
    monkeypatch.setattr(unseen, "records", dict)
    assert unseen.page() == unseen.of("one") == unseen.own("one") == unseen.settings_said("one") == ""


def test_heads_are_told_apart_by_what_their_runs_set(monkeypatch: pytest.MonkeyPatch) -> None:
    uar = {"nemo": {"none": 0.4}}
    steps, pool = "schedule.steps=120", "model.pool=4"
    found = {
        "a": {"uar": uar},
        "b": {"uar": uar, "set": [steps, pool]},
        "c": {"uar": uar, "set": []},
        "d": {"uar": uar, "set": [pool, steps]},
    }
    monkeypatch.setattr(unseen, "records", lambda: {name: {"labels": list(unseen.LABELS), **each} for name, each in found.items()})
    page = unseen.page()
    assert f"- ¹ b, d: `{pool}`, `{steps}`\n- ² c: {unseen.OWN}\n- ³ a: {unseen.UNKNOWN}\n" in page
    rows = [line.split("**")[1] + line.split("**")[2][1] for line in page.splitlines() if line.startswith("| **")]
    assert rows == ["b¹", "d¹", "c²", "a³"]
    said = {name: unseen.settings_said(name).removeprefix("Settings of these runs beside the recipe's: ") for name in found}
    assert said == {"a": "not recorded.", "b": f"`{pool}`, `{steps}`.", "c": f"{unseen.OWN}.", "d": f"`{pool}`, `{steps}`."}


def test_what_tells_other_emotions_has_tables_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    four = {"labels": list(unseen.LABELS), "uar": {"nemo": {"none": 0.4}}, "set": []}
    more = {"labels": [*unseen.LABELS, "fear"], "uar": {"nemo": {"none": 0.3, "all": 0.6}}, "set": ["schedule.steps=1"]}
    monkeypatch.setattr(unseen, "records", lambda: {"one": four, "five": more})
    head, others = unseen.page().split("## More emotions")
    assert "**one** ¹" in head and "**five**" not in head
    assert "Neutral, happy, angry, sad, fear." in others and "- ¹ five: `schedule.steps=1`" in others and "**one**" not in others
    assert [line for line in others.splitlines() if line.startswith("| **five**")] == [
        f"| **five** ¹ {unseen.EARLIER} | {value} | {value} |" for value in ("30.0", "60.0")
    ]
