"""The words that data/reports.toml quotes from the reports: their form. The reports themselves are not stored here."""

from workbook.records import reports

ITEMS = {item["id"]: item for item in reports()["item"]}
ASIDE = {"advice", "praise", "definition", "taste", "vague", "circular", "anecdote", "random draw"}
SECTIONS = {report["id"]: {section["n"] for section in report["sections"]} for report in reports()["report"]}


def statements(item: dict) -> list[dict]:
    return [{"quote": entry} if isinstance(entry, str) else entry for entry in item.get("says", [])]


def test_a_quotation_is_short_and_stands_once_in_its_item():
    for name, item in ITEMS.items():
        quotes = [statement["quote"] for statement in statements(item)]
        assert len(set(quotes)) == len(quotes), name
        for statement in statements(item):
            assert statement.keys() <= {"quote", "aside", "section"}, name
            assert 1 <= len(statement["quote"].split()) <= 12, f"{name}: {statement['quote']}"
            assert statement["quote"] == " ".join(statement["quote"].split()), f"{name}: one space between words"
            assert not set(statement["quote"]) & set("“”*$"), f"{name}: no marks of print"
            assert statement.get("aside", "advice") in ASIDE, name
            assert statement.get("section", item["section"]) in SECTIONS[item["report"]], name


def test_a_picture_or_question_quotes_what_it_asserts_and_nothing_else():
    for name, item in ITEMS.items():
        if item["class"] in ("picture", "question"):
            assert ("says" in item) == item.get("asserts", True), name


def test_only_statements_are_left_aside_not_values():
    for name, item in ITEMS.items():
        if item["class"] in ("measured", "setting"):
            assert not any("aside" in statement for statement in statements(item)), name
