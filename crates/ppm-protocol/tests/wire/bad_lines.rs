//! Bad lines and the exact reply to each.

use ppm_protocol::line::{Lines, MAX_LINE, TooLong, encode};
use ppm_protocol::message::{Asked, MAX_DEPTH};
use ppm_protocol::{Reply, RpcId};

/// The line gets this reply (here without its `"jsonrpc":"2.0"`, which every one has).
fn check(line: &[u8], expected: &str) {
    let shown = String::from_utf8_lossy(&line[..line.len().min(200)]);
    assert_eq!(replies(line), Some(expected.to_owned()), "{shown}");
}

/// The reply to a line that is refused.
fn replies(line: &[u8]) -> Option<String> {
    answer(Asked::read(Ok(line)))
}

fn answer(asked: Asked) -> Option<String> {
    let reply = Reply { id: asked.id?, result: Err(asked.request.err()?) };
    let line = String::from_utf8(encode(&reply)).unwrap();
    Some(line.strip_prefix(r#"{"jsonrpc":"2.0","#)?.strip_suffix("}\n")?.to_owned())
}

#[test]
fn what_is_not_json_is_told_so() {
    let table: [(&[u8], &str); 17] = [
        (b"", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 0: EOF while parsing a value"}"#),
        (b" \t ", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 3: EOF while parsing a value"}"#),
        (b"hello", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: expected value"}"#),
        (b"GET / HTTP/1.1", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: expected value"}"#),
        (b"{", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: EOF while parsing an object"}"#),
        (b"[", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: EOF while parsing a list"}"#),
        (b"\"", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: EOF while parsing a string"}"#),
        (br#"{"id":1,"method":"li"#, r#""id":null,"error":{"code":-32700,"message":"not JSON at column 20: EOF while parsing a string"}"#),
        (
            br#"{"id":1,"method":"list""#,
            r#""id":null,"error":{"code":-32700,"message":"not JSON at column 23: EOF while parsing an object"}"#,
        ),
        (br#"{"id":1}{"id":2}"#, r#""id":null,"error":{"code":-32700,"message":"not JSON at column 9: trailing characters"}"#),
        (br"{'id':1}", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 2: key must be a string"}"#),
        (br#"{"id":1,}"#, r#""id":null,"error":{"code":-32700,"message":"not JSON at column 9: trailing comma"}"#),
        (br#"{"id":01}"#, r#""id":null,"error":{"code":-32700,"message":"not JSON at column 8: invalid number"}"#),
        (br#"{"id":NaN}"#, r#""id":null,"error":{"code":-32700,"message":"not JSON at column 7: expected value"}"#),
        (b"\xef\xbb\xbf{}", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: expected value"}"#),
        ("\u{a0}[1]".as_bytes(), r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: expected value"}"#),
        (b"\0", r#""id":null,"error":{"code":-32700,"message":"not JSON at column 1: expected value"}"#),
    ];
    for (line, reply) in table {
        check(line, reply);
    }
}

#[test]
fn bytes_that_are_not_utf8_are_found() {
    let table: [(&[u8], &str); 4] = [
        (b"\xff", r#""id":null,"error":{"code":-32700,"message":"not UTF-8 at column 1"}"#),
        (b"{\"id\":1,\"method\":\"l\xe9st\"}", r#""id":null,"error":{"code":-32700,"message":"not UTF-8 at column 20"}"#),
        (b"{\"id\":\"\xed\xa0\x80\"}", r#""id":null,"error":{"code":-32700,"message":"not UTF-8 at column 8"}"#),
        (b"{} \xe2\x82", r#""id":null,"error":{"code":-32700,"message":"not UTF-8 at column 4"}"#),
    ];
    for (line, reply) in table {
        check(line, reply);
    }
}

#[test]
fn a_request_is_one_object() {
    let table: [(&[u8], &str); 8] = [
        (b"1", r#""id":null,"error":{"code":-32600,"message":"a request is a JSON object"}"#),
        (b"-1e999", r#""id":null,"error":{"code":-32600,"message":"a request is a JSON object"}"#),
        (b"\"list\"", r#""id":null,"error":{"code":-32600,"message":"a request is a JSON object"}"#),
        (b"null", r#""id":null,"error":{"code":-32600,"message":"a request is a JSON object"}"#),
        (b"true", r#""id":null,"error":{"code":-32600,"message":"a request is a JSON object"}"#),
        (b"[]", r#""id":null,"error":{"code":-32600,"message":"a batch is not supported; send one object a line"}"#),
        (
            br#" [{"id":1,"method":"list"}]"#,
            r#""id":null,"error":{"code":-32600,"message":"a batch is not supported; send one object a line"}"#,
        ),
        (b"{}", r#""id":null,"error":{"code":-32600,"message":"`method` is missing"}"#),
    ];
    for (line, reply) in table {
        check(line, reply);
    }
}

#[test]
fn a_request_has_a_method_and_speaks_version_2() {
    let methods = concat!(
        r#""data":{"methods":["hello","list","info","add","remove","start","stop","restart","reschedule","pause","resume","#,
        r#""signal","stats","history","configuration","scheduler","events","log","wait","health","why","runs","watched","reload","check","exec","run","forward","shutdown"]}"#
    );
    let unknown = |id, name| format!(r#""id":{id},"error":{{"code":-32601,"message":"no method named `{name}`",{methods}}}"#);
    let table: [(&[u8], &str); 12] = [
        (br#"{"id":7}"#, r#""id":7,"error":{"code":-32600,"message":"`method` is missing"}"#),
        (br#"{"id":7,"method":null}"#, r#""id":7,"error":{"code":-32600,"message":"`method` must be a string"}"#),
        (br#"{"id":7,"method":1}"#, r#""id":7,"error":{"code":-32600,"message":"`method` must be a string"}"#),
        (br#"{"id":7,"method":["list"]}"#, r#""id":7,"error":{"code":-32600,"message":"`method` must be a string"}"#),
        (br#"{"id":7,"method":"\ud800"}"#, r#""id":7,"error":{"code":-32600,"message":"`method` must be a string"}"#),
        (br#"{"id":7,"method":""}"#, &unknown("7", "")),
        (br#"{"id":7,"method":"List"}"#, &unknown("7", "List")),
        (br#"{"id":"x","method":"list\u0000"}"#, &unknown("\"x\"", r"list\u0000")),
        (br#"{"method":"lsit"}"#, &unknown("null", "lsit")),
        (br#"{"id":7,"jsonrpc":"1.0","method":"list"}"#, r#""id":7,"error":{"code":-32600,"message":"`jsonrpc` must be \"2.0\""}"#),
        (br#"{"id":7,"jsonrpc":2.0,"method":"list"}"#, r#""id":7,"error":{"code":-32600,"message":"`jsonrpc` must be \"2.0\""}"#),
        (br#"{"id":7,"jsonrpc":null,"method":"list"}"#, r#""id":7,"error":{"code":-32600,"message":"`jsonrpc` must be \"2.0\""}"#),
    ];
    for (line, reply) in table {
        check(line, reply);
    }
}

#[test]
fn an_id_is_a_whole_number_a_string_or_null() {
    let bad = r#""id":null,"error":{"code":-32600,"message":"`id` must be a whole number of 64 bits, a string or null"}"#;
    for id in ["1.5", "1.0", "1e2", "-0", "9223372036854775808", "1e999", "true", "{}", "[]", "[1]", r#""\udc00""#] {
        check(format!(r#"{{"id":{id},"method":"list"}}"#).as_bytes(), bad);
    }
    let good = [
        ("1", RpcId::Number(1)),
        ("0", RpcId::Number(0)),
        ("-9223372036854775808", RpcId::Number(i64::MIN)),
        ("9223372036854775807", RpcId::Number(i64::MAX)),
        (r#""""#, RpcId::Text(String::new())),
        (r#""\u0000\ud83d\ude00""#, RpcId::Text("\0\u{1f600}".to_owned())),
        ("null", RpcId::Null),
    ];
    for (id, expected) in good {
        let asked = Asked::read(Ok(format!(r#"{{"id":{id},"method":"hello"}}"#).as_bytes()));
        assert_eq!((asked.id, asked.request.is_ok()), (Some(expected), true), "{id}");
    }
}

#[test]
fn without_an_id_only_a_mistake_is_answered() {
    let good = [r#"{"method":"hello"}"#, r#"{"method":"stop","params":{"services":["web"]}}"#];
    for line in good {
        let asked = Asked::read(Ok(line.as_bytes()));
        assert_eq!((asked.id, asked.request.is_ok()), (None, true), "{line}");
    }
    check(br#"{"method":"stop"}"#, r#""id":null,"error":{"code":-32602,"message":"`stop`: missing field `services`"}"#);
    check(br#"{"jsonrpc":"1.0","method":"hello"}"#, r#""id":null,"error":{"code":-32600,"message":"`jsonrpc` must be \"2.0\""}"#);
}

#[test]
fn bad_parameters_are_told_with_the_method_and_the_field() {
    let table = [
        // the method, its parameters, the message
        ("list", "[]", "`list`: `params` must be an object"),
        ("hello", "[1]", "`hello`: `params` must be an object"),
        ("shutdown", "\"web\"", "`shutdown`: `params` must be an object"),
        ("stop", "[\"web\"]", "`stop`: `params` must be an object"),
        ("stop", "7", "`stop`: `params` must be an object"),
        ("stop", "true", "`stop`: `params` must be an object"),
        ("stop", "null", "`stop`: missing field `services`"),
        ("stop", "{}", "`stop`: missing field `services`"),
        ("stop", r#"{"wait":false}"#, "`stop`: missing field `services`"),
        ("stop", r#"{"services":[]}"#, "`stop`: `services` is empty: name at least one, or `all`"),
        ("signal", r#"{"services":[],"signal":"SIGHUP"}"#, "`signal`: `services` is empty: name at least one, or `all`"),
        ("wait", r#"{"for":"ready","services":[]}"#, "`wait`: `services` is empty: name at least one, or `all`"),
        ("list", r#"{"services":"web"}"#, r#"`list`: `services`: invalid type: string \"web\", expected a sequence"#),
        ("list", r#"{"services":null}"#, "`list`: `services`: invalid type: null, expected a sequence"),
        ("start", r#"{"services":[1]}"#, "`start`: `services`: invalid type: integer `1`, expected a string"),
        ("start", r#"{"services":["a",{}],"wait":true}"#, "`start`: `services`: invalid type: map, expected a string"),
        ("start", r#"{"services":["a"],"wait":"yes"}"#, r#"`start`: `wait`: invalid type: string \"yes\", expected a boolean"#),
        ("start", r#"{"wait":1,"services":["a"]}"#, "`start`: `wait`: invalid type: integer `1`, expected a boolean"),
        ("start", r#"{"services":["a"],"services":["b"]}"#, "`start`: duplicate field `services`"),
        ("restart", r#"{"services":["\ud800"]}"#, "`restart`: `services`: unexpected end of hex escape"),
        ("signal", r#"{"services":["a"]}"#, "`signal`: missing field `signal`"),
        ("signal", r#"{"services":["a"],"signal":"HANGUP"}"#, "`signal`: `signal`: `HANGUP` is not a signal"),
        ("signal", r#"{"signal":"65","services":["a"]}"#, "`signal`: `signal`: `65` is not a signal (signals are 1 to 64)"),
        ("signal", r#"{"signal":1,"services":["a"]}"#, "`signal`: `signal`: invalid type: integer `1`, expected a string"),
        ("wait", r#"{"services":["a"]}"#, "`wait`: missing field `for`"),
        (
            "wait",
            r#"{"services":["a"],"for":"gone"}"#,
            "`wait`: `for`: unknown variant `gone`, expected one of `running`, `ready`, `finished`, `stopped`",
        ),
        ("wait", r#"{"services":["a"],"timeout_ms":-1,"for":"ready"}"#, "`wait`: `timeout_ms`: invalid value: integer `-1`, expected u64"),
        (
            "wait",
            r#"{"services":["a"],"for":"ready","timeout_ms":18446744073709551616}"#,
            "`wait`: `timeout_ms`: invalid type: floating point `1.8446744073709552e+19`, expected u64",
        ),
        ("wait", r#"{"services":["a"],"for":"ready","timeout_ms":1e999}"#, "`wait`: `timeout_ms`: number out of range"),
        ("events", r#"{"last":1.5}"#, "`events`: `last`: invalid type: floating point `1.5`, expected usize"),
        ("events", r#"{"follow":null}"#, "`events`: `follow`: invalid type: null, expected a boolean"),
        (
            "events",
            r#"{ "last" : null , "follow" : 1 , "new" : "~" }"#,
            "`events`: `follow`: invalid type: integer `1`, expected a boolean",
        ),
        ("add", r#"{"command":["a"]}"#, "`add`: missing field `name`"),
        ("add", r#"{"name":"a"}"#, "`add`: missing field `command`"),
        ("add", r#"{"name":"a","command":"sleep 1"}"#, r#"`add`: `command`: invalid type: string \"sleep 1\", expected a sequence"#),
        ("add", r#"{"env":{"A":1},"name":"a","command":["a"]}"#, "`add`: `env`: invalid type: integer `1`, expected a string"),
        ("add", r#"{"name":"a","command":["a"],"env":["A=1"]}"#, "`add`: `env`: invalid type: sequence, expected a map"),
    ];
    for (method, params, message) in table {
        let line = format!(r#"{{"id":1,"method":"{method}","params":{params}}}"#);
        check(line.as_bytes(), &format!(r#""id":1,"error":{{"code":-32602,"message":"{message}"}}"#));
    }
}

#[test]
fn a_field_given_twice_is_refused() {
    let table: [(&[u8], &str); 3] = [
        (br#"{"id":1,"id":1,"method":"list"}"#, r#""id":null,"error":{"code":-32600,"message":"duplicate field `id`"}"#),
        (br#"{"id":1,"method":"list","method":"stop"}"#, r#""id":null,"error":{"code":-32600,"message":"duplicate field `method`"}"#),
        (
            br#"{"id":1,"params":{},"method":"list","params":{}}"#,
            r#""id":null,"error":{"code":-32600,"message":"duplicate field `params`"}"#,
        ),
    ];
    for (line, reply) in table {
        check(line, reply);
    }
}

#[test]
fn control_bytes_do_not_belong_into_strings() {
    let message = "control character (\\\\u0000-\\\\u001F) found while parsing a string";
    for byte in [0_u8, b'\n', 0x1f] {
        let line = [br#"{"id":"a"#, &[byte][..], br#"","method":"list"}"#].concat();
        check(&line, &format!(r#""id":null,"error":{{"code":-32700,"message":"not JSON at column 8: {message}"}}"#));
    }
}

#[test]
fn a_line_of_a_mebibyte_is_read_and_a_longer_one_is_not() {
    let mut longest = br#"{"id":1,"method":"hello","x":""#.to_vec();
    longest.resize(MAX_LINE - 2, b'x');
    longest.extend_from_slice(b"\"}");
    assert_eq!(longest.len(), MAX_LINE);
    assert!(Asked::read(Ok(&longest)).request.is_ok());

    let mut lines = Lines::up_to(MAX_LINE);
    lines.push(&[b" ", &longest[..], b"\n"].concat());
    let expected = r#""id":null,"error":{"code":-32600,"message":"the line is longer than 1048576 bytes"}"#;
    let line = lines.next_line().unwrap();
    assert_eq!(line, Err(TooLong));
    assert_eq!(answer(Asked::read(line)), Some(expected.to_owned()));
}

#[test]
fn deep_nesting_is_refused_before_anything_reads_it() {
    let refused = r#""id":null,"error":{"code":-32600,"message":"nested deeper than 64 levels"}"#;
    for depth in [MAX_DEPTH + 1, 10_000, MAX_LINE / 8] {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        let (objects, ends) = (r#"{"a":"#.repeat(depth), "}".repeat(depth));
        let lines = [
            format!("{open}{close}"),
            format!("{objects}1{ends}"),
            open.clone(),
            objects.clone(),
            format!(r#"{{"method":"hello","id":{open}{close}}}"#),
            format!(r#"{{"method":"hello","new":{open}{close}}}"#),
            format!(r#"{{"id":1,"method":"list","params":{{"services":{open}{close}}}}}"#),
            format!(r#"{{"id":1,"method":"add","params":{{"env":{objects}1{ends}}}}}"#),
        ];
        for line in lines {
            check(line.as_bytes(), refused);
        }
    }
    let deepest = format!(r#"{{"id":1,"method":"hello","new":{}{}}}"#, "[".repeat(MAX_DEPTH - 1), "]".repeat(MAX_DEPTH - 1));
    assert!(Asked::read(Ok(deepest.as_bytes())).request.is_ok());
    let in_text = format!(r#"{{"id":"{}","method":"hello"}}"#, "[".repeat(10_000));
    assert!(Asked::read(Ok(in_text.as_bytes())).request.is_ok());
}

#[test]
fn an_answer_does_not_grow_with_the_mistake() {
    let long = "\u{e9}".repeat(400_000);
    let lines = [
        format!(r#"{{"id":1,"method":"{long}"}}"#),
        format!(r#"{{"id":1,"method":"list","params":{{"services":"{long}"}}}}"#),
        format!(r#"{{"id":1,"method":"signal","params":{{"services":["a"],"signal":"{long}"}}}}"#),
        format!(r#"{{"id":1,"method":"wait","params":{{"services":["a"],"for":"{long}"}}}}"#),
    ];
    for line in lines {
        let reply = replies(line.as_bytes()).unwrap();
        assert!(reply.len() < 1500, "{} bytes: {reply:.300}", reply.len());
    }
}
