"""What a server tells of itself: by its metrics, in as many letters as are fit to be kept."""

from capacity.measurement.metrics import UNTOLD, read_page


def test_what_is_told_is_kept_by_name_and_nothing_else():
    page = read_page(
        b'serve_environment_info{threads="2",onnxruntime="1.32.0",python="3.11.7",host="secret"} 1.0\n'
    )
    assert page.facts() == {"threads": "2", "onnxruntime": "1.32.0", "python": "3.11.7"}


def test_a_server_that_tells_nothing_is_said_to():
    for text in ("other 1\n", 'serve_environment_info{host="here"} 1.0\n'):
        assert read_page(text.encode()).facts() == UNTOLD == {"threads": "not told by the server"}


def test_what_is_told_is_one_short_line():
    found = read_page(b'serve_environment_info{python="%s"} 1.0\n' % (b"x" * 500)).facts()
    assert found == UNTOLD | {"python": "x" * 80}
    found = read_page(b'serve_environment_info{python="a\\nb"} 1.0\n').facts()
    assert "\n" not in found["python"]
