import numpy as np
import pytest
from odd_zips import odd

from base.cache import cache_folder
from encoder.encoder import Encoder
from encoder.model.load import load_clip
from encoder.towers.encoder import TowersEncoder
from encoder.towers.export import export_towers
from encoder.zero_shot.word_bank import FEWEST, MOST, with_words, word_bank, words_of

ALPHABET = "abcdefghijklmnopqrstuvwxyz"
OF_CLIP = words_of({})  # of no vocabulary
MADE = [a + b + c for a in ALPHABET[:10] for b in ALPHABET for c in ALPHABET][: FEWEST + 100]


class LetterEncoder(Encoder):
    """Texts are counts of their letters; its tokenizer is a list of tokens, or none."""

    dim = 26

    def __init__(self, fingerprint, tokens=()):
        self.fingerprint, self.tokens, self.encoded = fingerprint, tokens, 0

    def encode_pixels(self, pixels):
        raise AssertionError("it reads no images")

    def encode_texts(self, texts):
        self.encoded += len(texts)
        x = np.array([[1 + text.count(letter) for letter in ALPHABET] for text in texts], np.float32)
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    def vocabulary(self):
        return {token: i for i, token in enumerate(self.tokens)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "cache"))


def kept():
    return sorted((cache_folder() / "words").iterdir())


@pytest.mark.parametrize(
    "tokens",
    [
        [*(f"{word}</w>" for word in MADE), "piece", "ab</w>", "don't</w>", "x1y</w>", "Ã¼ber</w>"],
        ["<pad>", *(f"\u2581{word}" for word in MADE), "piece", "\u2581Name", "\u2581ab", "\u2581x1y"],
        [*(f"\u0120{word}" for word in MADE), "piece", "\u0120Name", "\u0120Ã¼ber"],
        ["[CLS]", *MADE, "##piece", "Name", "ab", "x1y"],
    ],
    ids=["CLIP", "SentencePiece", "bytes", "WordPiece"],
)
def test_whole_words_are_read_off_any_tokenizer_the_commonest_first(tokens):
    assert words_of({token: i for i, token in enumerate(tokens)}) == tuple(MADE)


def test_letters_of_other_scripts_are_letters():
    tokens = [f"\u2581{word}" for word in (*MADE, "haus", "über", "собака", "سماء")]
    assert words_of({token: i for i, token in enumerate(tokens)})[-4:] == ("haus", "über", "собака", "سماء")


@pytest.mark.parametrize("tokens", [(), ("no", "marks", "here"), ("few</w>", "words</w>")])
def test_where_no_words_are_told_those_of_clip_stand_in(tokens):
    words = words_of({token: i for i, token in enumerate(tokens)})
    assert words == OF_CLIP
    assert len(set(words)) == len(words) == MOST
    assert {"dog", "house", "yellow"} <= set(words)
    assert all(len(word) > 2 and word.isalpha() and word.islower() for word in words)


def test_a_model_and_its_exported_towers_have_the_same_words(encoder, tiny_run, tmp_path, monkeypatch):
    assert words_of(encoder.vocabulary()) == OF_CLIP
    (tmp_path / "towers").mkdir()
    card = export_towers(load_clip(tiny_run), encoder.fingerprint, tmp_path / "towers", images=False)
    towers = TowersEncoder(tmp_path / "towers", card)
    assert words_of(towers.vocabulary()) == OF_CLIP
    monkeypatch.setattr("encoder.zero_shot.word_bank.MOST", 600)
    bank = word_bank(encoder)
    (cache_folder() / "words").rename(tmp_path / "away")
    np.testing.assert_allclose(word_bank(towers).vectors, bank.vectors, atol=2e-3)


def test_a_bank_is_encoded_once_and_told_of():
    told = []
    encoder = LetterEncoder("f", [f"{word}</w>" for word in MADE])
    bank = word_bank(encoder, progress=lambda done, of: told.append((done, of)))
    assert bank.words == tuple(MADE)
    assert bank.vectors.shape == (len(MADE), 26)
    assert bank.vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(bank.vectors, axis=1), 1, atol=1e-6)
    assert told[-1] == (len(MADE), len(MADE))
    assert told == sorted(told)
    assert len(told) > 1
    encoded = encoder.encoded
    again = word_bank(encoder, progress=lambda *_: pytest.fail("nothing is to be encoded"))
    assert encoder.encoded == encoded
    assert again.words == bank.words
    assert (again.vectors == bank.vectors).all()


def test_other_words_of_the_tokenizer_come_to_a_bank_and_are_as_its_own(monkeypatch):
    monkeypatch.setattr("encoder.zero_shot.word_bank.MOST", len(MADE))
    tokens = [f"{word}</w>" for word in (*MADE, "mushroom", "rare", "butterfly")]
    encoder = LetterEncoder("f", tokens)
    bank = word_bank(encoder)
    assert bank.words == tuple(MADE)
    assert with_words(bank, encoder, [*MADE[:3], "reeflex"]) is bank
    encoded = encoder.encoded
    more = with_words(bank, encoder, ["butterfly", MADE[0], "reeflex", "butterfly", "mushroom"])
    assert more.words == (*MADE, "butterfly", "mushroom")
    assert encoder.encoded - encoded == 2 * (encoded // len(MADE))
    monkeypatch.setattr("encoder.zero_shot.word_bank.MOST", len(MADE) + 3)
    both = word_bank(LetterEncoder("g", tokens))
    np.testing.assert_array_equal(more.vectors[len(MADE) :], both.vectors[[len(MADE) + 2, len(MADE)]])
    monkeypatch.setattr("encoder.zero_shot.word_bank.MOST", len(MADE))
    assert word_bank(encoder).words == bank.words  # what is kept is the model's alone


def test_another_model_and_other_templates_have_banks_of_their_own():
    tokens = [f"{word}</w>" for word in MADE]
    plain = word_bank(LetterEncoder("f", tokens), ["{}"])
    other = LetterEncoder("g", tokens)
    assert (word_bank(other, ["{}"]).vectors == plain.vectors).all()
    assert other.encoded == len(MADE)
    zoo = word_bank(LetterEncoder("f", tokens), ["zzz {}"])
    assert zoo.vectors[:, -1].min() > plain.vectors[:, -1].max() / 2
    assert len(kept()) == 3
    kept()[0].write_bytes(kept()[1].read_bytes())  # under another's name
    fresh = LetterEncoder("f", tokens)
    assert (word_bank(fresh, ["{}"]).vectors == plain.vectors).all()


def test_a_damaged_bank_is_made_anew():
    tokens = [f"{word}</w>" for word in MADE]
    bank = word_bank(LetterEncoder("f", tokens))
    whole = kept()[0].read_bytes()
    for damaged in (
        b"",
        b"no zip",
        whole[:-100],
        whole[: len(whole) // 2] + b"?" + whole[len(whole) // 2 + 1 :],
        *odd(whole),
    ):
        kept()[0].write_bytes(damaged)
        encoder = LetterEncoder("f", tokens)
        assert (word_bank(encoder).vectors == bank.vectors).all()
        assert encoder.encoded
        assert kept()[0].read_bytes() == whole


def test_few_banks_are_kept(monkeypatch):
    monkeypatch.setattr("encoder.zero_shot.word_bank._KEPT", 2)
    for name in "abc":
        word_bank(LetterEncoder(name, [f"{word}</w>" for word in MADE]))
    assert len(kept()) == 2


def test_a_cache_that_cannot_be_written_is_none(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GLIMPSE_CACHE", str(tmp_path / "file" / "below"))
    assert word_bank(LetterEncoder("f", [f"{word}</w>" for word in MADE])).words
