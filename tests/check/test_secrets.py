"""Secrets in texts: each form is found at its line, and what only looks like one is not."""

from __future__ import annotations

import random
import string

import pytest

from flambeau.check.lines import repeated_lines
from flambeau.check.secrets import API, CARD, EMAIL, KEY, PHONE, Secret, luhn, secrets


def drawn(length: int) -> str:
    return "".join(random.Random(length).choices(string.ascii_letters + string.digits, k=length))


PLANTED = [
    (KEY, "-----BEGIN " + "OPENSSH PRIVATE KEY-----"),
    (KEY, "-----BEGIN " + "PGP PRIVATE KEY BLOCK-----"),
    (API, "AKIA" + "J7Q2XW9ZP4LM6N3B"),
    (API, f"token: ghp_{drawn(36)}"),
    (API, f"OPENAI='sk-proj-{drawn(40)}1'"),
    (API, f'"api_key": "{drawn(32)}"'),
    (API, f"password = {drawn(20)}"),
    (API, f"eyJ{drawn(30)}.eyJ{drawn(40)}.{drawn(43)}"),
    (CARD, "4111 1111 1111 1111"),
    (CARD, "paid with 5500005555555559."),
    (CARD, "3782-822463-10005"),
    (EMAIL, "<jane.austen+novels@chawton.co.uk>"),
    (PHONE, "+44 20 7946 0958"),
    (PHONE, "call (020) 7946-0958, please"),
    (PHONE, "212-555-0198"),
    (PHONE, "+8613812345678"),
]
INNOCENT = [
    "4111 1111 1111 1112",  # the last digit is wrong
    "0000 0000 0000 0000, 1234567890123456, 3.14159265358979323846, 4111111111111111.5, a4111111111111111",
    "in 1811-1817, on 2024-01-15 10:30:00, from 10 000 000 to 12 500 000, 192.168.100.200",
    "978-0-14-143951-8 and 0141439513 are books; id 550e8400-e29b-41d4-a716-446655440000",
    "me@example.com, @home, a @ b.com, user@localhost, x@y",
    "The password: something-nobody-would-guess. The secret: happiness and much more of it",
    "api_key = aaaaaaaaaaaaaaaaaaaaaaa1, secret_key: your_secret_key_goes_here",
    "sk-learn-is-not-a-key-but-the-name-of-a-library, -----BEGIN PUBLIC KEY-----",
]


@pytest.mark.parametrize(("kind", "planted"), PLANTED)
def test_what_is_planted_is_found_at_its_line(kind: str, planted: str) -> None:
    assert secrets(f"It was a fine day.\nNobody wrote\nthis: {planted}\nand so on") == [Secret(kind, 3)]


@pytest.mark.parametrize("text", INNOCENT)
def test_what_only_looks_like_one_is_not(text: str) -> None:
    assert secrets(text) == []


def test_a_card_has_a_check_digit() -> None:
    assert [luhn(f"411111111111111{digit}") for digit in range(10)].count(True) == 1


def test_lines_of_many_documents() -> None:
    """Of 40 documents 12 have a notice and 9 a signature: the notice is told, with the share of the text that it is."""
    notice, signature = "All rights reserved. Do not copy.", "Yours faithfully, the editor in chief"
    texts = [f"Story {i} is told here.\nIt has a second line, number {i * 7}.\nEnd\n" for i in range(40)]
    texts += ["one line alone, which is a copy and told of as such"] * 50
    for i in range(12):
        texts[i * 3] += f"  {notice}\n{notice}\n"
    for i in range(9):
        texts[i] += signature
    found = repeated_lines(texts)
    assert found.lines == [(notice, 12)]
    assert found.documents.tolist() == [i * 3 for i in range(12)]
    assert found.share == pytest.approx(12 * len(notice) / sum(map(len, texts[:40])))
