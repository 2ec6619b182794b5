"""What is measured beside the loss: against formulas written out, for uneven batches, pixels and labels left out."""
from __future__ import annotations

import json

import numpy as np
import pytest

import nn
import tinygrad_conv as tg
from nn.train import saving

RNG = np.random.default_rng(0)
SCORES, LABELS = RNG.standard_normal((37, 6)).astype(np.float32), RNG.integers(0, 5, 37)  # class 5 is only said
MASKS, TRUE = RNG.standard_normal((5, 4, 6, 7)).astype(np.float32), RNG.integers(0, 4, (5, 6, 7))
SAID = SCORES.argmax(1)


def measured(metric, output, y, size=8):
    metric.begin()
    for i in range(0, len(y), size):  # the last batch is smaller
        metric.update(output[i:i + size], y[i:i + size])
    return metric.value()


def f1_of(said, labels, c):
    hit, false, missed = (said[labels == c] == c).sum(), (said[labels != c] == c).sum(), (said[labels == c] != c).sum()
    return 2 * hit / (2 * hit + false + missed)


@pytest.mark.parametrize("k", [1, 2, 5, 6, 9])
def test_top_k(k):
    hits = [y in np.argsort(-row)[:k] for row, y in zip(SCORES, LABELS)]
    assert measured(nn.TopK(k), SCORES, LABELS) == np.mean(hits)
    assert nn.TopK(k).name == f"top{k}"


def test_of_equal_scores_the_first_classes_count_as_argmax_does():
    same = np.zeros((4, 3))
    assert measured(nn.Accuracy(), same, np.arange(4) % 3) == (same.argmax(1) == np.arange(4) % 3).mean() == 0.5
    assert measured(nn.TopK(2), same[:3], np.arange(3)) == 2 / 3


def test_scores_that_are_nan_hit_nothing():
    assert measured(nn.TopK(3), np.full((2, 3), np.nan), np.array([0, 1])) == 0


def test_f1_by_class_and_its_averages():
    one_by_one = [f1_of(SAID, LABELS, c) for c in range(6)]
    assert measured(nn.F1(), SCORES, LABELS) == pytest.approx(np.mean(one_by_one), rel=1e-12)
    assert measured(nn.F1("weighted"), SCORES, LABELS) == pytest.approx(
        np.average(one_by_one, weights=np.bincount(LABELS, minlength=6)), rel=1e-12)


def test_f1_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics")
    for average in ("macro", "weighted"):
        assert measured(nn.F1(average), SCORES, LABELS) == pytest.approx(
            sklearn.f1_score(LABELS, SAID, average=average), rel=1e-12)


def test_classes_that_are_nowhere_do_not_count():
    scores, labels = np.eye(6)[[0, 1, 1]], np.array([0, 1, 0])
    assert measured(nn.F1(), scores, labels) == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert measured(nn.IoU(), scores, labels) == pytest.approx(0.5)


@pytest.mark.parametrize("shape", [(-1,), (-1, 1)])
def test_one_logit_is_that_of_class_one(shape):
    logits, y = RNG.standard_normal(21), RNG.integers(0, 2, 21)
    expected = f1_of((logits > 0).astype(int), y, 1)
    for labels in (y, y.astype(np.float32), y.reshape(shape)):
        assert measured(nn.F1("binary"), logits.reshape(shape), labels) == pytest.approx(expected, rel=1e-12)
    counts = [[((logits > 0) == said)[y == true].sum() for said in (0, 1)] for true in (0, 1)]
    assert measured(nn.ConfusionMatrix(), logits.reshape(shape), y).tolist() == counts


def test_the_confusion_matrix_and_the_iou_of_pixels():
    said = MASKS.argmax(1)
    counts = [[((TRUE == i) & (said == j)).sum() for j in range(4)] for i in range(4)]
    assert measured(nn.ConfusionMatrix(), MASKS, TRUE, 2).tolist() == counts
    ious = [((TRUE == c) & (said == c)).sum() / ((TRUE == c) | (said == c)).sum() for c in range(4)]
    assert measured(nn.IoU(), MASKS, TRUE, 2) == pytest.approx(np.mean(ious), rel=1e-12)
    assert measured(nn.Accuracy(), MASKS, TRUE, 2) == (said == TRUE).mean()


@pytest.mark.parametrize("kind", [nn.Accuracy, nn.IoU, nn.F1, nn.ConfusionMatrix, lambda **o: nn.TopK(2, **o)])
def test_a_label_can_be_left_out(kind):
    away = TRUE.copy()
    away[:, 2:4] = 255
    kept = np.delete(MASKS, [2, 3], axis=2), np.delete(TRUE, [2, 3], axis=1)
    assert np.array_equal(measured(kind(ignore_index=255), MASKS, away, 2), measured(kind(), *kept, 2))
    with pytest.raises(ValueError, match="the labels of 4 classes are 0 to 3, got 0 to 255; ignore_index"):
        measured(kind(), MASKS, away)


@pytest.mark.parametrize("metric", [nn.Accuracy(), nn.IoU(), nn.F1(), nn.F1("binary"), nn.TopK()])
def test_of_nothing_there_is_no_number(metric):
    metric.begin()
    assert np.isnan(metric.value())


@pytest.mark.parametrize("output, y", [((4, 3), (5,)), ((4, 3), (4, 2)), ((4, 3, 2), (4,)), ((4,), (4, 2)), ((), ())])
def test_shapes_that_do_not_fit_are_refused(output, y):
    with pytest.raises(ValueError, match="F1: expects scores .* and labels"):
        nn.F1().update(np.zeros(output), np.zeros(y, int))


def test_batches_of_other_classes_are_refused():
    metric = nn.F1()
    metric.update(np.zeros((2, 3)), np.zeros(2, int))
    with pytest.raises(ValueError, match="F1: this batch has 4 classes, those before had 3"):
        metric.update(np.zeros((2, 4)), np.zeros(2, int))


# ----- in evaluate and fit -----

def digits(**options):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10, rng=rng))
    test = nn.data.DataLoader(nn.data.digits("test"), 100)
    return net, nn.data.DataLoader(nn.data.digits("train"), 64, shuffle=True, rng=rng), test


def test_evaluate_gives_the_values_and_matrices_by_name():
    net, _, test = digits()
    data = test.dataset
    said, labels = net(tg.tensor(data[:][0])).numpy(), data[:][1]
    found = nn.evaluate(net, test, metrics=[nn.TopK(3), nn.F1(), nn.ConfusionMatrix()])
    assert list(found) == ["loss", "accuracy", "top3", "f1", "confusion"]
    assert found["f1"] == measured(nn.F1(), said, labels) and found["top3"] == measured(nn.TopK(3), said, labels)
    assert found["confusion"].sum() == len(data) and found["confusion"].trace() / len(data) == found["accuracy"]


def test_fit_keeps_numbers_in_the_history_and_the_last_matrix_in_the_metric(tmp_path):
    net, train, test = digits()
    matrix = nn.ConfusionMatrix()
    history = nn.fit(net, train, test, epochs=2, optimizer=nn.Adam(net.parameters(), 1e-2), callbacks=(),
                     checkpoint=tmp_path, metrics=[nn.TopK(3), nn.F1(), matrix])
    assert {"top3", "f1", "valid_top3", "valid_f1"} <= set(history.last) and "confusion" not in history.last
    found = nn.evaluate(net, test, metrics=[nn.F1(), nn.TopK(3)])
    assert (history.last["valid_f1"], history.last["valid_top3"]) == (found["f1"], found["top3"])
    assert matrix.value().sum() == len(test.dataset)
    kept = json.loads(saving.load_with_metadata(tmp_path / "last.safetensors")[1]["run"])["history"]
    assert kept == history.rows


@pytest.mark.parametrize("metrics, error, text", [
    ([nn.F1(), nn.F1()], ValueError, "there are two columns 'f1'"), ([nn.F1], TypeError, "nn.Metric objects"),
    (nn.F1(), TypeError, "a list of metrics"), (["f1"], TypeError, "nn.Metric objects, such as nn.F1()")])
def test_what_is_no_metric_is_told_so(metrics, error, text):
    net, train, test = digits()
    with pytest.raises(error, match=text):
        nn.evaluate(net, test, metrics=metrics)
    with pytest.raises(error, match=text):
        nn.fit(net, train, epochs=1, optimizer=nn.SGD(net.parameters()), metrics=metrics, callbacks=())


# ----- predict and top_losses -----

class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.drop = nn.Linear(4, 3, rng=np.random.default_rng(0)), nn.Dropout(0.5, rng=np.random.default_rng(1))

    def forward(self, x):
        return {"y": self.a(self.drop(x)), "pair": (x * 2.0, x.sum(1))}


def test_predict_joins_batches_in_evaluation_mode_and_restores_the_mode():
    net, x = Two(), RNG.standard_normal((11, 4)).astype(np.float32)
    state = str(net.drop.rng.bit_generator.state)
    found = nn.predict(net, x, batch_size=4)
    assert np.allclose(found["y"], x @ net.a.weight.numpy().T + net.a.bias.numpy(), atol=1e-6)
    assert np.array_equal(found["pair"][0], x * 2) and found["pair"][1].shape == (11,)
    assert net.training and net.drop.training and str(net.drop.rng.bit_generator.state) == state
    for same in (tg.tensor(x), nn.data.Dataset(x, np.arange(11)), x.tolist()):
        assert np.allclose(nn.predict(net, same, batch_size=5)["y"], found["y"])
    assert nn.predict(net, x[:0])["y"].shape == (0, 3)
    net.eval()
    nn.predict(net, x)
    assert not net.training


def test_predict_restores_the_mode_after_an_error():
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5, rng=np.random.default_rng(0)))
    with pytest.raises(ValueError):
        nn.predict(net, np.ones((2, 5), np.float32))
    assert net.training and net[1].training and tg.is_recording()
    with pytest.raises(TypeError, match="of a loader, pass its dataset"):
        nn.predict(net, nn.data.DataLoader(nn.data.digits("test"), 64))


def test_the_largest_losses():
    net, _, test = digits()
    data = test.dataset
    found = nn.top_losses(net, data, k=7)
    x, y = data[:]
    logits = net(tg.tensor(x)).numpy().astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(y)), y]
    assert found.indices.tolist() == np.argsort(-losses, kind="stable")[:7].tolist()
    assert np.allclose(found.losses, np.sort(losses)[::-1][:7], atol=1e-5)
    assert len(nn.top_losses(net, data, k=10**6).indices) == len(data)
    with pytest.raises(ValueError, match="the loss of one example must be one value, got shape"):
        nn.top_losses(net, data, lambda output, y: output)
    with pytest.raises(TypeError, match=r"top_losses: expects batches \(x, y\), got ndarray.*pass nn.data.Dataset\(x, y\)"):
        nn.top_losses(net, x)


def test_the_largest_losses_read_each_example_once():
    net, _, test = digits()
    read = []

    class Noted(nn.data.Dataset):
        def __getitem__(self, index):
            read.extend(np.atleast_1d(index).tolist())
            return super().__getitem__(index)
    data = Noted(*test.dataset[:])
    read.clear()
    nn.top_losses(net, data, k=3, batch_size=100)
    assert read == [*range(len(data))]


# ----- pictures -----

def test_pictures_show_what_they_are_of(tmp_path):
    pytest.importorskip("matplotlib")
    net, train, test = digits()
    matrix = nn.ConfusionMatrix()
    nn.evaluate(net, test, metrics=[matrix])
    axes, = matrix.plot(classes=test.dataset.classes).axes
    counts = matrix.value()
    assert {t.get_text() for t in axes.texts} == {str(n) for n in counts.ravel() if n}
    assert [t.get_text() for t in axes.get_yticklabels()] == [*test.dataset.classes]
    with pytest.raises(ValueError, match="plot: expects 10 classes, got 3"):
        matrix.plot(classes="abc")
    worst = nn.top_losses(net, test.dataset, k=10)
    shown = [a for a in worst.plot().axes if a.get_title()]
    assert len(shown) == 10
    for axes, i, loss in zip(shown, worst.indices, worst.losses):
        image, label = test.dataset[i:i + 1]
        assert np.array_equal(axes.images[0].get_array(), image[0, 0])
        assert f"is {label[0]}\n" in axes.get_title() and f"loss {loss:.3g}" in axes.get_title()
    for picture in (matrix, worst):
        assert picture.plot(tmp_path / "p.png") is None and (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
        with pytest.raises(ValueError, match="plot: expects a picture file"):
            picture.plot(tmp_path / "p.xyz")
