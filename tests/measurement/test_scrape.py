"""What a server tells of itself: by its metrics, in as many letters as are fit to be kept."""

from measurements.server_facts import server_facts

from capacity.measurement.scrape import UNTOLD, read_page


def test_what_is_told_is_kept_by_name_and_nothing_else():
    page = read_page(
        'serve_environment_info{threads="2",onnxruntime="1.32.0",python="3.11.7",host="secret"} 1.0\n'
    )
    assert server_facts(page) == {"threads": "2", "onnxruntime": "1.32.0", "python": "3.11.7"}


def test_a_server_that_tells_nothing_is_said_to():
    for text in ("other 1\n", 'serve_environment_info{host="here"} 1.0\n'):
        assert server_facts(read_page(text)) == UNTOLD == {"threads": "not told by the server"}


def test_what_is_told_is_one_short_line():
    found = server_facts(read_page(f'serve_environment_info{{python="{"x" * 500}"}} 1.0\n'))
    assert found == UNTOLD | {"python": "x" * 80}
    found = server_facts(read_page('serve_environment_info{python="a\\nb"} 1.0\n'))
    assert "\n" not in found["python"]
