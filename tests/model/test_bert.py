"""The BERT head against the published implementation and its equations written out, and its invariances."""

import numpy as np
import pytest
import torch

import golden
from darkaction.models.heads.bert import Bert
from darkaction.models.recognizer import BertHead
from darkaction.models.settings import Normalization

TOLERANCE = 2e-5


def published_bert() -> Bert:
    return Bert(num_tokens=8, width=512, heads=8, layers=1, dropout=0.1, mask=0.2, init="published")


@pytest.fixture(scope="module")
def bert() -> Bert:
    network = published_bert()
    golden.fill_bert(network)
    return network.eval()


def plain_norm(x_SD: np.ndarray, gain: np.ndarray, offset: np.ndarray) -> np.ndarray:
    deviation = np.sqrt(((x_SD - x_SD.mean(1, keepdims=True)) ** 2).sum(1, keepdims=True) / (x_SD.shape[1] - 1))
    return gain * (x_SD - x_SD.mean(1, keepdims=True)) / (deviation + 1e-6) + offset


def plain_bert(network: Bert, tokens_TD: np.ndarray, hidden: tuple[int, ...] = ()) -> np.ndarray:
    """Equations 11 and 12 of one sequence in float64, query by query; `hidden` keys (0 is CLS) are seen by none."""
    weights = {key.removeprefix("transformer_blocks.0."): w.double().numpy() for key, w in network.state_dict().items()}

    def linear(name: str, x_SD: np.ndarray) -> np.ndarray:
        return x_SD @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    x_SD = np.concatenate([weights["clsToken"][0], tokens_TD]) + weights["embedding.learnedPosition.pe"][0]
    normed = plain_norm(x_SD, weights["input_sublayer.norm.a_2"], weights["input_sublayer.norm.b_2"])
    query, key, value = (linear(f"attention.linear_layers.{k}", normed) for k in range(3))
    seen = [s for s in range(len(x_SD)) if s not in hidden]
    mixed = np.zeros_like(x_SD)
    for head in range(0, 512, 64):
        part = slice(head, head + 64)
        for s in range(len(x_SD)):
            scores = np.exp(np.array([query[s, part] @ key[other, part] / np.sqrt(64) for other in seen]))
            mixed[s, part] = scores / scores.sum() @ value[seen, part]
    x_SD = x_SD + linear("attention.output_linear", mixed)
    inner = linear(
        "feed_forward.w_1", plain_norm(x_SD, *(weights[f"output_sublayer.norm.{n}"] for n in ("a_2", "b_2")))
    )
    inner = 0.5 * inner * (1 + np.tanh(np.sqrt(2 / np.pi) * (inner + 0.044715 * inner**3)))
    return x_SD + linear("feed_forward.w_2", inner)


def tokens(case: str) -> np.ndarray:
    """Two sequences of eight tokens, float32."""
    spread = (2 * golden.hash_uniform("bert.input", (2, 8, 512))).astype(np.float32)
    return {"spread": spread, "rectified": np.maximum(spread, 0), "zero": 0 * spread}[case]


def test_parameter_count() -> None:
    assert sum(p.numel() for p in published_bert().parameters()) == 3_157_504


def test_output_is_that_of_the_published_code(bert: Bert) -> None:
    published = golden.load("bert")["out"]
    with torch.inference_mode():
        np.testing.assert_allclose(bert(torch.from_numpy(tokens("spread"))), published, atol=TOLERANCE)
    written_out = [plain_bert(bert, tokens_TD) for tokens_TD in tokens("spread")]
    np.testing.assert_allclose(written_out, published, atol=5e-6)  # so that it can stand for the published code below


@pytest.mark.parametrize("case", ["rectified", "zero"])
def test_output_matches_the_equations(bert: Bert, case: str) -> None:
    with torch.inference_mode():
        output = bert(torch.from_numpy(tokens(case)))
    np.testing.assert_allclose(output, [plain_bert(bert, tokens_TD) for tokens_TD in tokens(case)], atol=TOLERANCE)


def test_masked_keys_match_the_equations(bert: Bert) -> None:
    hidden = [(2, 5), (1, 3, 4, 8)]
    keep_BS = torch.tensor([[s not in keys for s in range(9)] for keys in hidden])
    tokens_BTD = torch.from_numpy(tokens("spread"))
    with torch.inference_mode():
        embedded_BSD = bert.embedding(torch.cat([bert.clsToken.expand(2, -1, -1), tokens_BTD], dim=1))
        output = bert.transformer_blocks[0](embedded_BSD, keep_BS)
    expected = [plain_bert(bert, *both) for both in zip(tokens("spread"), hidden, strict=True)]
    np.testing.assert_allclose(output, expected, atol=TOLERANCE)
    assert np.abs(expected[0] - plain_bert(bert, tokens("spread")[0])).max() > 100 * TOLERANCE


@pytest.mark.parametrize(("normalize", "axis"), [("none", None), ("token", 2), ("time", 1)])
def test_both_readings_of_normalized_in_the_time_domain(bert: Bert, normalize: Normalization, axis: int | None) -> None:
    """The published code normalises each token and feeds the others; the paper's words may also mean each feature."""
    tokens_BTD = tokens("rectified")
    tokens_BTD[:, :, 5] = 0  # a feature without length
    fed_BTD = tokens_BTD.astype(np.float64)
    if axis is not None:
        length = np.sqrt((fed_BTD**2).sum(axis, keepdims=True))
        fed_BTD = fed_BTD / np.where(length > 0, length, 1)
    head = BertHead(bert, normalize=normalize, dropout=0.8).eval()
    with torch.inference_mode():
        cls_BD = head(torch.from_numpy(tokens_BTD))
    np.testing.assert_allclose(cls_BD, [plain_bert(bert, fed_TD)[0] for fed_TD in fed_BTD], atol=TOLERANCE)


def test_training_mask_hides_one_token_in_five_and_never_cls() -> None:
    torch.manual_seed(0)
    keep_BS = published_bert()._draw_mask(torch.zeros(4000, 9, 512))
    assert keep_BS[:, 0].all()
    assert 0.78 < keep_BS[:, 1:].float().mean() < 0.82


def test_order_of_tokens_matters() -> None:
    torch.manual_seed(0)
    bert = Bert(num_tokens=8, width=64, heads=4, layers=1, dropout=0.0, mask=0.0, init="published").eval()
    tokens_BTD = torch.randn(2, 8, 64)
    assert (bert(tokens_BTD)[:, 0] - bert(tokens_BTD.flip(1))[:, 0]).abs().max() > 1e-4


def test_mean_initialisation_starts_at_the_mean_of_the_normed_tokens() -> None:
    torch.manual_seed(0)
    bert = Bert(num_tokens=8, width=64, heads=4, layers=1, dropout=0.0, mask=0.0, init="mean").eval()
    tokens_BTD = torch.randn(3, 8, 64)
    embedded_BSD = bert.embedding(torch.cat([bert.clsToken.expand(3, -1, -1), tokens_BTD], 1))
    normed_BSD = bert.transformer_blocks[0].input_sublayer.norm(embedded_BSD)
    expected_BD = embedded_BSD[:, 0] + normed_BSD.mean(1)
    torch.testing.assert_close(bert(tokens_BTD)[:, 0], expected_BD, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("normalize", ["token", "time"])
def test_zero_tokens_have_finite_output_and_gradient(normalize: Normalization) -> None:
    head = BertHead(published_bert(), normalize=normalize, dropout=0.0)
    tokens_BTD = torch.zeros(1, 8, 512, requires_grad=True)
    head(tokens_BTD).sum().backward()
    assert tokens_BTD.grad is not None and tokens_BTD.grad.isfinite().all()
