"""Files that people often give and that no format reads, written here by shape: the error says what to give instead."""

import pytest
from test_hey_text import TEXT as HEY

from capacity.errors import InputError
from capacity.formats.document import Document
from capacity.formats.registry import FORMATS, format_of
from capacity.formats.unread import instead

K6 = """
     scenarios: (100.00%) 1 scenario, 10 max VUs, 1m0s max duration (incl. graceful stop):

  █ TOTAL RESULTS

    HTTP
    http_req_duration..............: avg=6.02ms min=1.1ms med=5.9ms max=51.5ms p(90)=8ms p(95)=9ms
    http_reqs......................: 3001   99.99/s
"""
VEGETA = """\
Requests      [total, rate, throughput]         1200, 120.00, 65.87
Latencies     [min, mean, 50, 95, 99, max]      90.4ms, 113.1ms, 108.2ms, 140.1ms, 247.7ms, 264.8ms
"""
OHA = HEY.replace("  Total:", "  Success rate:\t100.00%\n  Total:", 1)
LOCUST = """\
Type     Name         # reqs      # fails |    Avg     Min     Max    Med |   req/s  failures/s
--------|-----------|-------|-------------|-------|-------|-------|-------|--------|-----------
GET      /predict       4870     0(0.00%) |     15       3     217     12 |  166.75        0.00
"""
ENVOY = '[2026-11-30T10:00:00.123Z] "GET /predict HTTP/1.1" 200 - 0 11 5 4 "-" "hey" "4eaed362" "demo" "10.0.0.9:80"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (K6, "k6's summary as text; run k6 with --summary-export=FILE or --out json=FILE"),
        (VEGETA, "vegeta's report as text; write it by vegeta report -type=json"),
        (OHA, "oha's report as text; write oha's JSON"),
        (LOCUST, "Locust's table as text; run locust with --csv NAME"),
        (
            "Label,# Samples,Average,Median,90% Line\npredict,9,8,7,6\n",
            "JMeter's aggregate or summary report; give",
        ),
        ('{"Total": {"sampleCount": 9, "pct1ResTime": 7.0}}', "the statistics of JMeter's dashboard; give"),
        ('{"status": 200, "request_time": 0.1}\n' * 2, "an access log as JSON; log in the combined format"),
        ('{"DownstreamStatus":200,"Duration":9}\n' * 2, "Traefik's access log as JSON; log in"),
        ('{"logger":"http.log.access.log0","duration":0.1}\n' * 2, "Caddy's access log; log in"),
        (ENVOY, "an access log as Envoy and Istio write it; log in"),
        ("PK\x03\x04...", "a zip archive or a spreadsheet; unpack it"),
        ("a" * 257 + "\x00ustar", "an archive; unpack it first"),
        ("%PDF-1.7\n", "a PDF; give the file that the tool wrote"),
        ("", "empty; did the tool write it to its end?"),
        ("\n \n", "empty;"),
    ],
)
def test_what_to_give_instead_is_told(text: str, said: str) -> None:
    with pytest.raises(InputError) as refused:
        format_of(Document("a file", text))
    told = f"a file is of none of the {len(FORMATS)} formats that are known: it is "
    assert str(refused.value).startswith(told + said)


def test_of_other_files_nothing_is_known() -> None:
    assert instead(Document("a file", "now what\n")) is None
