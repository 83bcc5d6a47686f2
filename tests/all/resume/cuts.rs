//! A connection that is cut after any byte, one way or the other.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::util::Phpws;
use crate::util::http::feedback;
use crate::util::page::Page;
use serde_json::{Value, json};

/// A proxy that cuts its first connection once so many bytes have gone one way, and lets all others through.
struct Cutter {
    addr: SocketAddr,
    cuts: Arc<AtomicUsize>,
}

#[derive(Clone, Copy)]
enum Way {
    ToClient,
    ToServer,
}

impl Cutter {
    fn start(server: SocketAddr, way: Way, limit: usize, connections: usize) -> Cutter {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, cuts) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let counter = cuts.clone();
        std::thread::spawn(move || {
            for number in 0.. {
                let (Ok((client, _)), Ok(server)) = (listener.accept(), TcpStream::connect(server)) else { return };
                client.set_nodelay(true).unwrap();
                server.set_nodelay(true).unwrap();
                let (forth, back) = match way {
                    _ if number >= connections => (usize::MAX, usize::MAX),
                    Way::ToServer => (limit, usize::MAX),
                    Way::ToClient => (usize::MAX, limit),
                };
                let both = [(client.try_clone(), server.try_clone(), forth), (server.try_clone(), client.try_clone(), back)];
                for (from, to, limit) in both {
                    let (from, to, cuts) = (from.unwrap(), to.unwrap(), counter.clone());
                    std::thread::spawn(move || copy(from, to, limit, &cuts));
                }
            }
        });
        Cutter { addr, cuts }
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, mut limit: usize, cuts: &AtomicUsize) {
    let mut buffer = [0; 4096];
    while limit > 0 {
        let up_to = limit.min(buffer.len());
        match from.read(&mut buffer[..up_to]) {
            Ok(count @ 1..) if to.write_all(&buffer[..count]).is_ok() => limit -= count,
            _ => break,
        }
    }
    cuts.fetch_add(usize::from(limit == 0), Ordering::SeqCst);
    // Both ways, and for both copies of each stream.
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

/// A dialog of each kind of message, with the page behind a proxy. Gives how often the proxy cut.
fn scripted(server: &Phpws, way: Way, limit: usize, connections: usize) -> usize {
    let cutter = Cutter::start(server.addr, way, limit, connections);
    let (mut other, _) = server.ready_on("/", "");
    let mut page = Page::ready(&[cutter.addr], "/web");
    let room = format!("r{}", page.uuid);
    feedback(server, &page.uuid, r#"{"message":1}"#);
    page.say(r#"{"opcode":"echo","message":2}"#);
    feedback(server, &page.uuid, &format!(r#"{{"message":3,"filling":"{}"}}"#, "x".repeat(150)));
    page.say(&format!(r#"{{"opcode":"join","room":"{room}","message":0}}"#));
    other.say(&format!(r#"{{"opcode":"join","room":"{room}"}}"#));
    assert!(other.text().contains(r#""count":2"#));
    other.say(&format!(r#"{{"opcode":"broadcast","room":"{room}","message":5}}"#));
    page.say(&format!(r#"{{"opcode":"broadcast","room":"{room}","message":1}}"#));
    page.say(&format!(r#"{{"opcode":"broadcast","room":"{room}","message":2}}"#));
    feedback(server, &page.uuid, r#"{"message":6}"#);
    page.say(r#"{"opcode":"echo","message":7}"#);
    page.until("the last echo", |page| page.got.last().is_some_and(|last| last["message"] == 7));
    page.got[3]["message"] = json!(4);
    assert_eq!(page.got[3]["opcode"], "joined");
    assert_eq!(numbers(&page.got), [1, 2, 3, 4, 5, 6, 7], "cut after {limit} bytes");
    assert!(page.standings[1..].iter().all(|standing| standing == "resumed"), "{:?}", page.standings);
    for number in 1..=2 {
        assert!(other.text().contains(&format!(r#""message":{number},"cseq""#)), "cut after {limit} bytes");
    }
    other.say(r#"{"opcode":"echo","message":"nothing before me"}"#);
    assert!(other.text().contains("nothing before me"));
    cutter.cuts.load(Ordering::SeqCst)
}

fn numbers(texts: &[Value]) -> Vec<u64> {
    texts.iter().map(|text| text["message"].as_u64().unwrap()).collect()
}

#[test]
fn a_connection_may_be_cut_after_any_byte_that_the_server_sends() {
    cut_everywhere(Way::ToClient);
}

#[test]
fn a_connection_may_be_cut_after_any_byte_that_the_client_sends() {
    cut_everywhere(Way::ToServer);
}

fn cut_everywhere(way: Way) {
    let server = Phpws::start(&["--max-away", "0"]);
    let mut limit = 1;
    // The last one lets everything through.
    while scripted(&server, way, limit, 1) > 0 {
        limit += 1;
    }
    println!("cut after each of {limit} bytes: each message came once and in order");
    assert!(limit > 500, "the dialog is longer than {limit} bytes");
}

/// The head has some 130 bytes and `ready` 130 more: beyond that each connection gets a little further.
#[test]
fn every_connection_may_be_cut() {
    let server = Phpws::start(&["--max-away", "0"]);
    for limit in (500..900).step_by(7) {
        scripted(&server, Way::ToClient, limit, usize::MAX);
    }
}
