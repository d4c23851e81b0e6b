"""The ledger's encryption: known answers, and texts that open only in their place and with their key."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as some

encryption = pytest.importorskip("syncd.ledger.encryption")
Damaged, DataKey, MasterKey = encryption.Damaged, encryption.DataKey, encryption.MasterKey
MASTER = MasterKey.parse(base64.b64encode(bytes(range(32))).decode())
# NIST's GCM revised specification (McGrew and Viega), test cases 14 and 16 of AES-256: key, nonce, plaintext,
# additional data, ciphertext and tag.
KNOWN = [
    ("00" * 32, "00" * 12, "00" * 16, "", "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"),
    (
        "feffe9928665731c6d6a8f9467308308" * 2,
        "cafebabefacedbaddecaf888",
        (
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
            "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
        ),
        "feedfacedeadbeeffeedfacedeadbeefabaddad2",
        (
            "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
            "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
        ),
    ),
]


@pytest.mark.parametrize(("key", "nonce", "plain", "place", "expected"), KNOWN)
def test_the_cipher_gives_the_known_answers(key, nonce, plain, place, expected, monkeypatch):
    monkeypatch.setattr(encryption.os, "urandom", lambda count: bytes.fromhex(nonce)[:count])
    aead = encryption.AESGCM(bytes.fromhex(key))
    sealed = encryption._encrypted(aead, bytes.fromhex(plain), bytes.fromhex(place))
    assert base64.b64decode(sealed).hex() == nonce + expected
    assert encryption._decrypted(aead, sealed, bytes.fromhex(place)).hex() == plain


@given(some.text(some.characters(exclude_categories=["Cs"])), some.text("ab\0/", max_size=3))
def test_a_text_comes_back_in_its_place_and_in_no_other(text, place):
    key = DataKey.make()
    sealed = key.seal(text, place)
    assert encryption.is_sealed(sealed)
    assert encryption.key_of(sealed) == key.id
    assert key.open(sealed, place) == text
    for other, at in ((key, place + "x"), (DataKey.make(), place)):
        with pytest.raises(Damaged):
            other.open(sealed, at)


@given(some.data())
def test_a_changed_text_does_not_open(data):
    key = DataKey.make()
    sealed = key.seal("subjects of an email", "place")  # 48 bytes: no bit of the base64 is spare
    at = data.draw(some.integers(len(f"gcm:{key.id}:"), len(sealed) - 1))
    changed = sealed[:at] + data.draw(some.sampled_from("Aa0=é")) + sealed[at + 1 :]
    if changed != sealed:
        with pytest.raises(Damaged):
            key.open(changed, "place")


def test_no_text_is_sealed_twice_alike():
    key = DataKey.make()
    assert len({key.seal("{}", "place") for _ in range(100)}) == 100
    assert len({DataKey.make().id for _ in range(100)}) == 100


def test_a_data_key_is_unwrapped_by_its_master_key_and_under_its_id_alone():
    key = DataKey.make()
    wrapped = MASTER.wrap(key)
    assert MASTER.unwrap(key.id, wrapped).open(key.seal("text", "place"), "place") == "text"
    for master, name in ((MASTER, DataKey.make().id), (MasterKey(bytes(32)), key.id)):
        with pytest.raises(Damaged):
            master.unwrap(name, wrapped)


@pytest.mark.parametrize("text", ["", "c2hvcnQ=", "canary-word", base64.b64encode(bytes(31)).decode(), "é" * 44])
def test_a_master_key_is_32_bytes_in_base64(text):
    with pytest.raises(ValueError, match="expected 32 bytes in base64, as `openssl rand -base64 32`") as caught:
        MasterKey.parse(text)
    assert "canary-word" not in str(caught.value)


def test_no_key_is_shown():
    key = DataKey.make()
    assert key.secret.hex() not in repr(key) + repr(MasterKey(key.secret))
    assert repr(key.secret) not in repr(key) + repr(MasterKey(key.secret))
