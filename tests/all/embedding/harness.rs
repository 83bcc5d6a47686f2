//! Applications on the harness, without a network.

use phpws::testing::Harness;
use phpws::{Delivery, Message, Resource, Server, SocketId, To};
use std::time::Duration;

struct Twice;

impl Resource for Twice {
    fn on_data(&mut self, server: &mut Server, _id: SocketId, _message: Message<'_>) {
        for text in [r#"{"n":1}"#, r#"{"n":2}"#] {
            server.send(Delivery::new(To::Name { uuid: "", ident: "worker" }, text).key("k"));
        }
    }
}

/// Keys count for browsers only: a backend has to do each of its jobs.
#[test]
fn a_backend_gets_every_message_with_a_key() {
    for fields in ["Client-Type: php\r\nIdent: worker\r\n", "Client-Type: php\r\nFrames-Per-Read: any\r\nIdent: worker\r\n"] {
        let mut harness = Harness::new();
        harness.register("/web", Twice);
        let worker = harness.connect_with("/web", fields);
        harness.texts(worker);
        let page = harness.connect("/web");
        harness.send(page, "go");
        harness.advance(Duration::from_millis(20));
        harness.advance(Duration::from_millis(20));
        let texts: Vec<String> = harness.texts(worker).into_iter().map(|text| text.trim_end().to_owned()).collect();
        assert_eq!(texts, [r#"{"n":1}"#, r#"{"n":2}"#], "{fields}");
    }
}

#[test]
fn a_browser_gets_the_newest_message_with_a_key() {
    struct Newest;
    impl Resource for Newest {
        fn on_data(&mut self, server: &mut Server, _id: SocketId, _message: Message<'_>) {
            for text in [r#"{"n":1}"#, r#"{"n":2}"#] {
                server.send(Delivery::new(To::All, text).key("k"));
            }
        }
    }
    let mut harness = Harness::new();
    harness.register("/web", Newest);
    let (page, other) = (harness.connect("/web"), harness.connect("/web"));
    harness.send(page, "go");
    assert_eq!(harness.texts(other), [r#"{"n":2}"#]);
}
