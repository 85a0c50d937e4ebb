"""Return tokens: they come back from any mail system, and nobody can make one."""

import os
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noticesvc import vault
from noticesvc.operations import return_token

MASTERS, INDEX = vault.parse(vault.new_key_file(os.urandom))
WORLD = SimpleNamespace(vault=vault.Vault(MASTERS, INDEX, os.urandom), origin="notices.example.com/log")
NOTICE = "01a0c450-6fe8-7000-8001-e055710184c8"
LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


@pytest.mark.parametrize("number", [0, 1, 2, 4711, 65535])
def test_a_token_leads_back_in_any_case(number):
    """Relays change the case of local parts."""
    token = return_token.make(WORLD, NOTICE, number)
    assert len(token) == return_token.LETTERS
    assert set(token) <= set(LETTERS)
    for spelt in (token, token.upper()):
        assert return_token.read(WORLD, [spelt]) == [(NOTICE, number)]


def test_that_of_an_attempt_goes_before_that_of_a_delivery():
    """A bounce names both; the attempt is the better answer, and nothing is told twice."""
    whole, one = return_token.make(WORLD, NOTICE, 0), return_token.make(WORLD, NOTICE, 3)
    assert return_token.read(WORLD, [whole, "a" * 45, one, one]) == [(NOTICE, 3), (NOTICE, 0)]


def test_a_message_id_is_that_of_its_delivery():
    """The same over all attempts, on the right of the @ the log's host name."""
    token, host = return_token.message_id(WORLD, NOTICE).split("@")
    assert host == "notices.example.com"
    assert return_token.read(WORLD, [token]) == [(NOTICE, 0)]


@given(st.integers(0, 43), st.sampled_from(LETTERS))
def test_a_changed_letter_leads_nowhere(position, letter):
    """Ten bytes of HMAC: another notice or attempt cannot be named by changing a token that one has seen."""
    token = return_token.make(WORLD, NOTICE, 1)
    changed = token[:position] + letter + token[position + 1:]
    assert return_token.read(WORLD, [changed]) == ([(NOTICE, 1)] if changed == token else [])


@given(st.lists(st.text(max_size=60)))
def test_what_is_no_token_leads_nowhere(words):
    """Whatever stands in a mail."""
    assert return_token.read(WORLD, words) == []


def test_another_installations_token_leads_nowhere():
    """The key of blind indexes is this installation's."""
    masters, index = vault.parse(vault.new_key_file(os.urandom))
    other = SimpleNamespace(vault=vault.Vault(masters, index, os.urandom), origin="x")
    assert return_token.read(WORLD, [return_token.make(other, NOTICE, 1)]) == []
