//! What is sent: lines that parsers stumble over, and streams that end within one.

/// Deeper than any parser's limit that is known (`serde_json`: 128).
const DEPTH: usize = 1000;
/// A real server's image or a file as text.
const LARGE: usize = 8 << 20;

/// Lines, and what is odd about each.
pub(super) fn lines() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |open: &str, close: &str| {
        format!("{{\"jsonrpc\":\"2.0\",\"x\":{}1{}}}\n", open.repeat(DEPTH), close.repeat(DEPTH)).into_bytes()
    };
    let call = |arguments: &str| {
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{{\"name\":\"read\",\
             \"arguments\":{arguments}}}}}\n"
        )
        .into_bytes()
    };
    let request =
        |id: &str| format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"method\":\"ping\"}}\n").into_bytes();
    let large = |head: &[u8], tail: &[u8]| [head, &vec![b'm'; LARGE], tail].concat();
    let line = |line: &[u8]| line.to_vec();
    vec![
        ("an ordinary request", request("1")),
        ("a number beyond a double", line(b"{\"jsonrpc\":\"2.0\",\"n\":1e400,\"m\":-1E-400}\n")),
        ("24 digits", line(b"{\"jsonrpc\":\"2.0\",\"n\":123456789012345678901234}\n")),
        ("a trailing zero", line(b"{\"jsonrpc\":\"2.0\",\"n\":1.10,\"m\":1.0,\"k\":-0.0,\"e\":1E+2}\n")),
        ("duplicate keys", line(b"{\"jsonrpc\":\"2.0\",\"a\":1,\"a\":2,\"jsonrpc\":\"2.0\"}\n")),
        (
            "a duplicate method",
            line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"method\":\"ping\",\"method\":\"tools/call\"}\n"),
        ),
        ("keys that are not in order", line(b"{\"params\":{},\"z\":1,\"id\":2,\"a\":1,\"jsonrpc\":\"2.0\"}\n")),
        ("lone surrogates", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\ud800 \\udc00\\udfff x\"}\n")),
        ("a surrogate pair as escapes", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\ud83e\\udd80\"}\n")),
        ("escapes of plain letters", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\u0061\\u00e9\\u00E9\"}\n")),
        ("invalid UTF-8", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\xff\xfe\xc0\x80\xed\xa0\x80\"}\n")),
        ("an escaped NUL", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"a\\u0000b\"}\n")),
        ("a raw NUL", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"a\x00b\"}\n")),
        ("raw control characters", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\x01\x07\x0b\x1b[31m\x7f\"}\n")),
        ("escaped solidi", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"a\\/b \\/home\\/user\\/x \\b\\f\\t\"}\n")),
        ("emoji", line("{\"jsonrpc\":\"2.0\",\"\u{1f980}\":\"\u{1f468}\u{200d}\u{1f469} e\u{301} \u{2028}\"}\n".as_bytes())),
        ("deep arrays", deep("[", "]")),
        ("deep objects", deep("{\"a\":", "}")),
        ("a deep call", call(&format!("{}\"/no/where/at all\"{}", "[".repeat(DEPTH), "]".repeat(DEPTH)))),
        ("CRLF", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\n")),
        ("CR and CRLF", line(b"\r{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\r\r\n")),
        ("an empty line", line(b"\n")),
        ("empty lines", line(b"\n\r\n\n")),
        ("a line of blanks", line(b" \t \r\n")),
        ("leading blanks", line(b"  \t {\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")),
        ("many leading blanks", [vec![b' '; 10_000], request("1")].concat()),
        ("trailing blanks", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"} \t \n")),
        ("blanks inside", line(b"{ \"jsonrpc\" :\t\"2.0\" , \"id\" : 1 , \"method\" : \"ping\" }\n")),
        ("a byte order mark", line(b"\xef\xbb\xbf{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}\n")),
        (
            "a batch",
            line(b"[{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"},{\"jsonrpc\":\"2.0\",\"method\":\"a\"}]\n"),
        ),
        ("an empty batch", line(b"[]\n")),
        ("a batch of what is no message", line(b"[1,\"a\",null,[],{\"jsonrpc\":\"2.0\"}]\n")),
        ("an empty object", line(b"{}\n")),
        ("a scalar", line(b"42\n\"text\"\nnull\ntrue\n")),
        ("words", line(b"Server is ready on port 80 {not json}\n")),
        ("words in a brace", line(b"{not json at all}\n")),
        ("two messages on a line", line(b"{\"jsonrpc\":\"2.0\",\"id\":1}{\"jsonrpc\":\"2.0\",\"id\":2}\n")),
        ("two messages at once", [request("1"), request("2")].concat()),
        ("a comment", line(b"{\"jsonrpc\":\"2.0\",/* odd */\"id\":1} // more\n")),
        ("trailing commas", line(b"{\"jsonrpc\":\"2.0\",\"a\":[1,2,],}\n")),
        ("single quotes", line(b"{'jsonrpc':'2.0','id':1}\n")),
        ("NaN and leading zeros", line(b"{\"jsonrpc\":\"2.0\",\"a\":NaN,\"b\":-Infinity,\"c\":007,\"d\":+1,\"e\":.5}\n")),
        ("half a message on a line", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\n")),
        ("half a string on a line", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"no end\n")),
        ("a bad escape", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"\\x41 \\u12 \\\"}\n")),
        ("brackets that do not fit", line(b"{\"jsonrpc\":\"2.0\",\"a\":[1}]\n")),
        ("an id of text", request("\"7\"")),
        ("an empty id", request("\"\"")),
        ("a negative id", request("-7")),
        ("an id with a fraction", request("7.50")),
        ("an id of null", request("null")),
        ("an id beyond 64 bits", request("18446744073709551616")),
        ("an id that is an object", request("{\"a\":[1]}")),
        (
            "unknown fields",
            line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"x\":1,\"params\":{\"name\":\"read\",\"_meta\":{\"progressToken\":\"7\",\"a/b\":1.0},\"y\":[]}}\n"),
        ),
        ("another version", line(b"{\"jsonrpc\":\"3.0\",\"id\":1,\"method\":\"tools/call\"}\n")),
        ("a result and an error", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{},\"error\":{\"code\":1e2}}\n")),
        ("a call without arguments", line(b"{\"jsonrpc\":\"2.0\",\"id\":5,\"method\":\"tools/call\",\"params\":{\"name\":\"read\"}}\n")),
        ("a call whose arguments are no object", call("[\"a\",1.10]")),
        ("a call of odd arguments", call("{\"a\":1e400,\"a\":1.10,\"b\":\"\\ud800\",\"c\":\"\\u00e9\\/\",\"\":[{}]}")),
        (
            "a call with what looks like paths",
            call("{\"u\":\"https:\\/\\/example.com/a/b\",\"g\":\"/src/**/*.rs\",\"r\":\"^/a/b$\",\"n\":\"/help\",\"s\":\"and/or\",\"file\":\"\"}"),
        ),
        ("a method in escapes", line(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools\\/\\u0063all\",\"params\":{\"name\":\"read\",\"arguments\":{\"a\":1.10}}}\n")),
        ("a list of tools with a cursor", line(b"{\"jsonrpc\":\"2.0\",\"id\":1.0,\"method\":\"tools/list\",\"params\":{\"cursor\":\"\\u0041\"}}\n")),
        (
            "a result that was not asked for",
            line(b"{\"jsonrpc\":\"2.0\",\"id\":99,\"result\":{\"tools\":[{\"name\":1e5},{\"inputSchema\":{\"properties\":[1.10]}}]}}\n"),
        ),
        ("a path that only the guest could have", line(b"{\"jsonrpc\":\"2.0\",\"s\":\"/opt/npxc-shared/9999/x \\/opt\\/npxc-shared\\/x\"}\n")),
        ("a huge key", [b"{\"jsonrpc\":\"2.0\",\"".to_vec(), vec![b'k'; 1 << 20], b"\":1}\n".to_vec()].concat()),
        ("many keys", {
            let keys: String = (0..20_000).map(|key| format!(",\"k{key}\":{key}.0")).collect();
            format!("{{\"jsonrpc\":\"2.0\"{keys}}}\n").into_bytes()
        }),
        ("a message of 8 MB", large(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":\"", b"\"}\n")),
        ("a line of 8 MB that is none", large(b"m", b"\n")),
    ]
}

/// Ends of a stream without a line's end.
pub(super) const ENDS: [(&str, &[u8]); 8] = [
    ("a message without an end of line", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"n\":1.10}"),
    ("a batch without an end of line", b"[{\"jsonrpc\":\"2.0\",\"id\":1}]"),
    ("half a message", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"to"),
    ("half an escape", b"{\"jsonrpc\":\"2.0\",\"s\":\"\\ud8"),
    ("half a character", b"{\"jsonrpc\":\"2.0\",\"s\":\"\xf0\x9f"),
    ("a carriage return", b"{\"jsonrpc\":\"2.0\",\"id\":1}\r"),
    ("blanks", b" \t "),
    ("words", b"and no more"),
];
