from __future__ import annotations

import numpy as np
import pytest

from sightline.judging.evaluation import nearest


def embeddings(count: int, *, seed: int = 0, width: int = 8) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, width)).astype(np.float16)


def test_the_nearest_are_those_of_the_largest_cosine():
    queries, training = embeddings(5, seed=1), embeddings(50, seed=2)
    wide = queries.astype(float), training.astype(float)
    cosine = (wide[0] @ wide[1].T) / np.outer(*(np.linalg.norm(each, axis=1) for each in wide))
    positions, similarities = nearest(queries, training, 3)
    np.testing.assert_array_equal(positions, np.argsort(-cosine, axis=1)[:, :3])
    np.testing.assert_allclose(similarities, -np.sort(-cosine, axis=1)[:, :3], atol=1e-6)


def test_blocks_do_not_change_the_answer():
    queries, training = embeddings(300, seed=1, width=4), embeddings(9000, seed=2, width=4)
    wide = queries.astype(float), training.astype(float)
    cosine = (wide[0] @ wide[1].T) / np.outer(*(np.linalg.norm(each, axis=1) for each in wide))
    expected = np.argsort(-np.round(cosine, 6), axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(nearest(queries, training, 2)[0], expected)


def test_length_does_not_matter():
    query = np.asarray([[1, 2, 3]], np.float16)
    positions, similarities = nearest(query, np.asarray([[0, 0, 1], [10, 20, 30]], np.float16), 1)
    assert (positions.tolist(), similarities.tolist()) == ([[1]], [[1.0]])


def test_equals_go_by_position_across_blocks():
    training = np.zeros((5000, 3), np.float16)
    training[[10, 4500, 4999]] = (1, 1, 0)
    positions, _ = nearest(np.asarray([[2, 2, 0]], np.float16), training, 3)
    assert positions.tolist() == [[10, 4500, 4999]]


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_row_that_is_not_finite_is_never_chosen(bad):
    training = embeddings(4)
    training[1, 3] = bad
    positions, similarities = nearest(training[[0]], training, 4)
    assert sorted(positions[0].tolist()) == [-1, 0, 2, 3]
    assert np.isnan(similarities[0, 3])


def test_a_query_that_is_not_finite_finds_nothing():
    positions, similarities = nearest(np.full((1, 8), np.nan, np.float16), embeddings(4), 2)
    assert positions.tolist() == [[-1, -1]]
    assert np.isnan(similarities).all()


def test_a_row_of_zeros_is_like_nothing():
    training = np.asarray([[0, 0], [-1, 0], [1, 0]], np.float16)
    positions, similarities = nearest(np.asarray([[1, 0]], np.float16), training, 3)
    assert (positions.tolist(), similarities.tolist()) == ([[2, 0, 1]], [[1.0, 0.0, -1.0]])


def test_where_there_are_fewer_than_asked_the_rest_is_empty():
    positions, _ = nearest(embeddings(2), embeddings(2), 3)
    assert positions[:, 2].tolist() == [-1, -1]


def test_float16_of_any_size_does_not_overflow():
    training = np.asarray([[60000, 0], [0, 60000]], np.float16)
    assert nearest(training, training, 1)[1].tolist() == [[1.0], [1.0]]


def test_embeddings_of_another_width_are_refused():
    with pytest.raises(ValueError, match=r"got \(2, 8\) and \(3, 4\)"):
        nearest(embeddings(2), embeddings(3, width=4), 1)


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="count must be 1 or more, got 0"):
        nearest(embeddings(2), embeddings(3), 0)
