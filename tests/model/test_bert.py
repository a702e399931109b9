"""The BERT head against numbers of the published implementation, and its invariances."""

from pathlib import Path

import numpy as np
import pytest
import torch

import golden
from darkaction.models.bert import Bert
from darkaction.models.recognizer import BertHead

TOLERANCE = 2e-5


def published_bert() -> Bert:
    return Bert(num_tokens=8, width=512, heads=8, layers=1, dropout=0.1, mask=0.2, init="published")


@pytest.fixture(scope="module")
def arrays(shared_dir: Path):
    return golden.load(shared_dir, "bert_head")[0]


@pytest.fixture(scope="module")
def bert(arrays) -> Bert:
    network = published_bert()
    state = {key.removeprefix("sd/"): torch.from_numpy(arrays[key]) for key in arrays.files if key.startswith("sd/")}
    network.load_state_dict(state)
    return network.eval()


def test_parameter_count() -> None:
    assert sum(p.numel() for p in published_bert().parameters()) == 3_157_504


@pytest.mark.parametrize("case", ["x", "xrelu", "xzero"])
def test_output_matches_published(bert: Bert, arrays, case: str) -> None:
    with torch.inference_mode():
        output = bert(torch.from_numpy(arrays[f"{case}_in"]))
    np.testing.assert_allclose(output, arrays[f"{case}_out"], atol=TOLERANCE)
    np.testing.assert_allclose(output[:, 0], arrays[f"{case}_cls"], atol=TOLERANCE)


def test_masked_keys_match_published(bert: Bert, arrays) -> None:
    tokens_BSD = bert.embedding(torch.from_numpy(arrays["x_in"]).new_tensor(arrays["x_after_embedding"] * 0))
    tokens_BSD = torch.from_numpy(arrays["x_after_embedding"])
    keep_BS = torch.from_numpy(arrays["mask_keep"]).bool()
    with torch.inference_mode():
        output = bert.transformer_blocks[0](tokens_BSD, keep_BS)
    np.testing.assert_allclose(output, arrays["x_masked_out"], atol=TOLERANCE)


def test_normalize_tokens_switch(bert: Bert, arrays) -> None:
    tokens_BTD = torch.from_numpy(arrays["xrelu_in"])
    weight = 0.1 * golden.hash_uniform("fc_action.weight", (6, 512))
    bias = 0.1 * golden.hash_uniform("fc_action.bias", (6,))
    for switch, expected in ((False, "wrap_logits"), (True, "alt_logits_if_normalised_first")):
        head = BertHead(bert, normalize_tokens=switch, dropout=0.8).eval()
        with torch.inference_mode():
            logits = head(tokens_BTD).double().numpy() @ weight.T + bias
        np.testing.assert_allclose(logits, arrays[expected], atol=TOLERANCE)


def test_training_mask_hides_one_token_in_five_and_never_cls() -> None:
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


def test_zero_tokens_have_finite_output_and_gradient() -> None:
    head = BertHead(published_bert(), normalize_tokens=True, dropout=0.0)
    tokens_BTD = torch.zeros(1, 8, 512, requires_grad=True)
    head(tokens_BTD).sum().backward()
    assert tokens_BTD.grad is not None and tokens_BTD.grad.isfinite().all()
