//! `phpws status` and `phpws publish`, as a shell script calls them.

use std::process::{Command, Output, Stdio};

use crate::util::Phpws;
use crate::util::folder::Folder;
use crate::util::receiver::{Answer, Receiver};
use crate::util::sockets::Nobody;
use crate::util::tls::Pair;

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_phpws"));
    command.args(args).env_remove("PHPWS_ADDRESS").env_remove("PHPWS_PUBLISH_TOKEN");
    command
}

/// Exit status, standard output, standard error.
fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn phpws(args: &[&str]) -> (i32, String, String) {
    outcome(command(args).output().unwrap())
}

#[test]
fn status_prints_a_table_of_a_server_that_is_ready() {
    let server = Phpws::start(&[]);
    let _browser = server.browser();
    for url in [format!("ws://{}", server.addr), format!("http://{}/", server.addr), server.addr.to_string()] {
        let (code, table, error) = phpws(&["status", &url]);
        assert_eq!((code, error.as_str()), (0, ""));
        let names: Vec<&str> = table.lines().map(|line| line[..10].trim_end()).collect();
        let expected =
            ["status", "version", "uptime", "clients", "messages", "bytes", "waiting", "refused", "too slow", "memory"];
        assert_eq!(names, expected);
        assert!(table.starts_with("status    ready\n") && table.contains("clients   1 (1 websocket, 0 php, 0 tcp)\n"), "{table}");
    }
    let from_environment = command(&["status"]).env("PHPWS_ADDRESS", format!("ws://{}", server.addr)).output().unwrap();
    assert_eq!(outcome(from_environment).0, 0);
}

#[test]
fn status_ends_with_1_where_no_server_answers() {
    let nobody = Nobody::new();
    let address = nobody.addr.to_string();
    let (code, text, error) = phpws(&["status", &address]);
    assert_eq!((code, text.as_str(), error.lines().count()), (1, "", 1), "{error}");
    assert!(error.starts_with(&format!("phpws: ws://{address}: ")) && error.contains("Connection refused"), "{error}");
}

#[test]
fn status_ends_with_1_where_the_server_is_being_stopped_or_does_not_answer_this_host() {
    let receiver = Receiver::start();
    let draining = r#"{"status":"draining","version":"0.1.0","uptime_seconds":61,"clients":3}"#;
    receiver.order([
        Answer::Status("503 Service Unavailable", draining),
        Answer::Status("200 OK", "phpws_clients{type=\"php\"} 3\n"),
    ]);
    let (code, table, _) = phpws(&["status", &receiver.addr.to_string()]);
    assert_eq!(code, 1);
    assert!(
        table.contains("status    draining\n") && table.contains("uptime    1 min 1 s\n") && table.contains("3 php"),
        "{table}"
    );
    receiver.order([Answer::Status("403 Forbidden", "Only allowed hosts may ask\n")]);
    let (code, _, error) = phpws(&["status", &receiver.addr.to_string()]);
    assert_eq!((code, error), (1, format!("phpws: ws://{}: 403, Only allowed hosts may ask\n", receiver.addr)));
    receiver.order([Answer::Hang]);
    assert_eq!(phpws(&["status", "--timeout", "0.2", &receiver.addr.to_string()]).0, 1);
}

#[test]
fn a_self_signed_server_is_believed_when_told_so() {
    let (pair, other) = (Pair::new(), Pair::new());
    let [_, cert, ..] = &pair.args();
    let server = pair.server(&[]);
    let url = format!("wss://{}", server.addr);
    assert_eq!(phpws(&["status", "--cacert", cert, &url]).0, 0);
    assert_eq!(phpws(&["status", "--insecure", &url]).0, 0);
    let (code, _, error) = outcome(command(&["status", &url]).env("SSL_CERT_FILE", "/nonexistent.pem").output().unwrap());
    assert_eq!((code, error.as_str()), (1, "phpws: /nonexistent.pem can't be read: No such file or directory (os error 2)\n"));
    let [_, other, ..] = &other.args();
    assert_eq!(phpws(&["status", "--cacert", other, &url]).0, 1);
}

#[test]
fn publish_posts_the_message_where_it_belongs_and_prints_the_answer() {
    let receiver = Receiver::start();
    let url = receiver.addr.to_string();
    for (args, line, body) in [
        (&["--uuid", "u-1", r#"{"progress":50}"#][..], "POST /feedback/u-1 HTTP/1.1", r#"{"progress":50}"#),
        (&["--ident", "büro 1", "half done"], "POST /feedback?ident=b%C3%BCro%201 HTTP/1.1", r#""half done""#),
        (&["--broadcast", "42"], "POST /broadcast HTTP/1.1", "42"),
        (&["--broadcast", "--resource", "/web", "x"], "POST /broadcast?resource=%2Fweb HTTP/1.1", r#""x""#),
        (&["--broadcast", "--room", "a", "--key", "k", "x"], "POST /broadcast?room=a&key=k HTTP/1.1", r#""x""#),
    ] {
        receiver.order([Answer::Status("200 OK", r#"{"delivered":1,"queued":0}"#)]);
        let (code, text, error) = phpws(&[&["publish", "--url", &url], args].concat());
        assert_eq!((code, text.as_str(), error.as_str()), (0, "{\"delivered\":1,\"queued\":0}\n", ""));
        let request = receiver.received().pop().unwrap();
        assert_eq!((request.line.as_str(), request.body.as_str()), (line, body));
        assert_eq!((request.header("content-type"), request.header("authorization")), ("application/json", ""));
    }
}

#[test]
fn publish_ends_by_what_became_of_the_message() {
    let receiver = Receiver::start();
    let url = receiver.addr.to_string();
    for (status, expected) in
        [("202 Accepted", 0), ("404 Not Found", 1), ("401 Unauthorized", 1), ("500 Internal Server Error", 1)]
    {
        receiver.order([Answer::Status(status, "{}")]);
        assert_eq!(phpws(&["publish", "--url", &url, "--broadcast", "x"]).0, expected, "{status}");
    }
    let nobody = Nobody::new();
    assert_eq!(phpws(&["publish", "--url", &nobody.addr.to_string(), "--broadcast", "x"]).0, 1);
}

#[test]
fn a_token_comes_from_the_environment_or_a_file_and_a_message_from_standard_input() {
    let receiver = Receiver::start();
    let url = receiver.addr.to_string();
    let folder = Folder::new();
    let token = folder.write("token", "from the file\n");
    let message = folder.write("message", "line 1\nline 2");
    let args = ["publish", "--url", &url, "--broadcast", "-"];
    let stdin = Stdio::from(std::fs::File::open(&message).unwrap());
    assert!(command(&args).env("PHPWS_PUBLISH_TOKEN", "t0ken").stdin(stdin).output().unwrap().status.success());
    let request = receiver.received().pop().unwrap();
    assert_eq!((request.header("authorization"), request.body.as_str()), ("Bearer t0ken", r#""line 1\nline 2""#));
    let args = ["publish", "--url", &url, "--token-file", &token, "--broadcast", "x"];
    assert!(command(&args).env("PHPWS_PUBLISH_TOKEN", "t0ken").output().unwrap().status.success());
    assert_eq!(receiver.received().pop().unwrap().header("authorization"), "Bearer from the file");
}

#[test]
fn usage_errors_end_with_2() {
    for (args, expected) in [
        (&["status", "a", "b"][..], "unexpected argument 'b'; see phpws status --help"),
        (&["status", "ftp://x"], "unknown scheme 'ftp', use ws, wss, tcp or ssl; see phpws status --help"),
        (&["status", "--timeout", "soon"], "--timeout is not a number of seconds; see phpws status --help"),
        (&["publish", "x"], "give one of --uuid, --ident and --broadcast; see phpws publish --help"),
        (
            &["publish", "--uuid", "u", "--broadcast", "x"],
            "give one of --uuid, --ident and --broadcast; see phpws publish --help",
        ),
        (&["publish", "--broadcast"], "a MESSAGE is missing; see phpws publish --help"),
        (&["publish", "--uuid", "u", "--room", "r", "x"], "--room goes with --broadcast; see phpws publish --help"),
        (
            &["publish", "--broadcast", "two", "words"],
            "unexpected argument 'words'; put quotes around the message; see phpws publish --help",
        ),
        (&["publish", "--nonsense"], "Unrecognized option: 'nonsense'; see phpws publish --help"),
    ] {
        assert_eq!(phpws(args), (2, String::new(), format!("phpws: {expected}\n")));
    }
    for name in ["status", "publish"] {
        let (code, help, _) = phpws(&[name, "--help"]);
        assert!(code == 0 && help.starts_with(&format!("Usage: phpws {name} ")));
    }
}
