"""Single heads against their equations, written out the long way."""

from dataclasses import replace

import pytest
import torch
from support.token_maps import noise_maps
from torch import Tensor
from torch.nn import functional

from export.heads import MapShape
from export.heads.attention import AbMilp, EfficientProbing, Mhca, SimPool
from export.heads.pooled import ConcatLinear, SummaryLinear, TokenLinear
from export.heads.prototypes import Proto, ProtoFloat

SHAPE = MapShape(24, 2, 5)
MAPS = noise_maps(SHAPE, [4, 2, 3], seed=3)
TOKENS, VALID = MAPS.rows()


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(5)


def close(got: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


def dense_attention(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """torch's own attention: (.., B, Q, k), (.., B, T, k), (.., B, T, v) -> (.., B, Q, v)."""
    mask = VALID[:, None].expand(-1, queries.shape[-2], -1)
    return functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)


def test_linear_takes_cls_where_there_is_one() -> None:
    shape = MapShape(24, 2, 5, 7)
    maps = noise_maps(shape, [4, 2], seed=4)
    head = SummaryLinear(shape)
    assert maps.cls is not None
    close(head(maps), head.linear(maps.cls))


def test_linearc_without_cls_is_maximum_and_mean() -> None:
    head = ConcatLinear(SHAPE)
    rows = [clip[heard] for clip, heard in zip(TOKENS, VALID, strict=True)]
    pooled = torch.stack([torch.cat([row.amax(0), row.mean(0)]) for row in rows])
    close(head(MAPS), head.linear(pooled))


def test_linpre_is_the_maximum_of_the_logits_of_tokens() -> None:
    head = TokenLinear(SHAPE)
    logits = head.linear(TOKENS).masked_fill(~VALID[..., None], -torch.inf)
    close(head(MAPS), logits.amax(dim=1))


def test_mhca_is_multi_head_attention() -> None:
    head = Mhca(SHAPE)
    assert head.n_heads == 12
    with torch.no_grad():
        head.query.mul_(200)  # far from uniform weights

    def in_heads(rows: Tensor) -> Tensor:
        split: Tensor = rows.unflatten(-1, (12, -1))
        return split.movedim(-2, 0)

    query = in_heads(head.query.expand(3, 1, -1))
    answer = dense_attention(query, in_heads(head.key(TOKENS)), in_heads(head.value(TOKENS)))
    close(head(MAPS), head.linear(answer.movedim(0, -2).flatten(1)))


@pytest.mark.parametrize(
    ("n_dims", "n_heads", "n_queries"), [(768, 12, 32), (80, 10, 20), (7, 7, 7), (1, 1, 1)]
)
def test_heads_and_queries_divide_the_dimensions(n_dims: int, n_heads: int, n_queries: int) -> None:
    shape = MapShape(n_dims, 1, 2)
    assert Mhca(shape).n_heads == n_heads
    assert len(EfficientProbing(shape).queries) == n_queries


def test_simpool_is_attention_of_the_mean_to_normalised_tokens() -> None:
    head = SimPool(SHAPE)
    normalised = head.norm(TOKENS)
    query = head.query(MAPS.mean())[:, None]
    answer = dense_attention(query, head.key(normalised), normalised)
    close(head(MAPS), head.linear(answer[:, 0]))


def test_ep_gives_each_query_its_part_of_the_values() -> None:
    head = EfficientProbing(SHAPE)
    with torch.no_grad():
        head.queries.mul_(200)
    answers = dense_attention(head.queries.expand(3, -1, -1), TOKENS, head.value(TOKENS))
    parts = answers.unflatten(2, (len(head.queries), -1))
    own = torch.stack([parts[:, i, i] for i in range(len(head.queries))], dim=1)
    close(head(MAPS), head.linear(own.flatten(1)))


def test_abmilp_weighs_tokens_by_their_scores() -> None:
    head = AbMilp(SHAPE)
    weights = head.score(torch.tanh(head.hidden(TOKENS))).exp() * VALID[..., None]
    pooled = (weights / weights.sum(1, keepdim=True) * TOKENS).sum(1)
    close(head(MAPS), head.linear(pooled))


def test_prototypes_take_the_best_cosine_of_a_clip() -> None:
    head = ProtoFloat(SHAPE, 2)
    cosines = functional.cosine_similarity(TOKENS[:, :, None], head.prototypes, dim=-1)
    best = cosines.masked_fill(~VALID[..., None], -torch.inf).amax(dim=1)
    close(head(MAPS), head.linear(best))


def test_zero_tokens_score_zero() -> None:
    maps = replace(MAPS, tokens=torch.zeros_like(MAPS.tokens))
    float_head = ProtoFloat(SHAPE, 2)
    assert torch.equal(float_head(maps), float_head.linear.bias.expand(3, -1))
    assert torch.equal(Proto(SHAPE, 2)(maps), torch.full((3, 5), -2.0))


def test_proto_hears_only_what_speaks_for_a_class() -> None:
    head = Proto(SHAPE, 2)
    with torch.no_grad():
        head.prototypes.copy_(torch.randn_like(head.prototypes))
        head.weight.copy_(torch.randn_like(head.weight))
    cosines = functional.cosine_similarity(TOKENS[:, :, None], head.prototypes, dim=-1)
    best = cosines.masked_fill(~VALID[..., None], -torch.inf).amax(dim=1).clamp(min=0)
    expected = torch.full((3, 5), -2.0)
    for label in range(5):
        for own in range(2):
            expected[:, label] += head.weight[label, own].clamp(min=0) * best[:, 2 * label + own]
    close(head(MAPS), expected)


def test_penalty_is_zero_for_orthogonal_prototypes_of_a_class_only() -> None:
    head = Proto(MapShape(4, 1, 2), 2)
    with torch.no_grad():
        head.prototypes.copy_(3 * torch.eye(4)[[0, 1, 0, 1]])  # classes may share
    assert head.penalty().item() == 0
    with torch.no_grad():
        head.prototypes.copy_(torch.eye(4)[[0, 0, 2, 3]])
    # G - I of the first class has two ones off the diagonal; 2 classes of 2 x 2.
    assert head.penalty().item() == pytest.approx(2**0.5 / 8)
    assert ProtoFloat(MapShape(4, 1, 2), 2).penalty().item() == 0
