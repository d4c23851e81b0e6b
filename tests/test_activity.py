"""People whom a record's headers name."""

from syncd.activity import LONGEST, Person, header_person


def test_the_same_header_gives_the_same_person_again():
    assert header_person("ada@acme.example", "Ada") == Person("ada@acme.example", name="Ada")
    assert header_person("ada@acme.example", "Ada") is header_person("ada@acme.example", "Ada")
    assert header_person("ada@acme.example", None) == Person("ada@acme.example")


def test_no_long_text_of_a_header_is_remembered():
    long = "x" * (LONGEST + 1)
    for address, name in ((long, None), ("ada@acme.example", long)):
        assert header_person(address, name) == Person(address, name=name)
        assert header_person(address, name) is not header_person(address, name)
