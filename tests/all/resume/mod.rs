//! Clients that come back: what they missed, in order and once, under the same uuid.

mod cuts;
mod kept;
mod messages;
mod two_connections;

use crate::util::http::get;
use crate::util::{Client, Phpws, wait_for};
use serde_json::{Value, json};

/// A client past `ready`, and what that said.
fn open(server: &Phpws, target: &str) -> (Client, Value) {
    let mut client = server.upgrade(target, "");
    let ready = serde_json::from_str(&client.text()).unwrap();
    (client, ready)
}

fn uuid(ready: &Value) -> String {
    ready["uuid"].as_str().unwrap().to_owned()
}

/// Breaks the connection, and waits until the server knows.
fn break_off(server: &Phpws, client: Client, uuid: &str) {
    drop(client);
    wait_for("the client to be away", || (clients(server, uuid)["connected"] == json!(false)).then_some(()));
}

fn clients(server: &Phpws, uuid: &str) -> Value {
    get(server, &format!("/clients/{uuid}")).1
}

/// The next message, without what publishing puts before its members.
fn message(client: &mut Client) -> String {
    let frame = client.frame().expect("a frame before the end");
    if frame.opcode == 9 {
        return message(client);
    }
    let text = frame.text().to_owned();
    match text.split_once(r#""message":"#) {
        Some((head, rest)) if head.contains(r#""opcode":"feedback""#) => format!(r#"{{"message":{rest}"#),
        _ => text,
    }
}
