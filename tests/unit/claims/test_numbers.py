"""The one format of numbers in sentences."""

from attnlag.claims import numbers


def test_numbers_are_written_with_a_minus_sign_and_two_decimals():
    assert [numbers.number(value) for value in (0.234, -0.5, 0.0312, 0.0, -0.0001)] == [
        "0.23", "−0.50", "0.03", "0.00", "0.00",
    ]  # fmt: skip
    assert [numbers.significant(value) for value in (2.71, 193.4, 0.0968)] == [
        "2.7", "193", "0.097",
    ]  # fmt: skip
    assert [numbers.percent(share) for share in (0.123, -0.001, -0.04)] == ["12%", "0%", "−4%"]
    assert numbers.percent(0.1234, 1) == "12.3%"
    assert numbers.interval(-0.1, 0.25) == "−0.10 to 0.25"
    assert numbers.span([0.2, -0.1, 0.1]) == "−0.10 to 0.20"
    assert numbers.span([0.201, float("nan"), 0.204]) == "0.20"
    assert numbers.with_minus_signs("a-1 is -0.2 (x-3)") == "a-1 is −0.2 (x-3)"
    # A name may begin with a hyphen and a digit.
    assert numbers.with_minus_signs("-2nd: -8.8°, -3% to -1,000.") == "-2nd: −8.8°, −3% to −1,000."
