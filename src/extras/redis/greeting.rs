//! What a connection is for, and whether the other side is what it should be.
//!
//! The answer to HELLO tells: a Redis alone, a node of a Redis Cluster, or a Sentinel, and whether it takes writes. So
//! no right is needed for that. Whoever is wrong often names another one. It knows no socket.

use std::sync::Arc;

use super::resp::Reply;
use super::url::{Host, RedisUrl};

/// What a connection is for.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// Commands and subscriptions. In a Redis Cluster they go to the node that has this key.
    Serve { home: Arc<str> },
    /// A Sentinel is asked for the master of that name.
    FindMaster { name: String },
}

/// What the other side says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Alone,
    ClusterNode,
    Sentinel,
}

impl Errand {
    /// Reads the answer to HELLO; an error says why this is not who is looked for.
    pub(super) fn check(&self, hello: &[Reply], url: &RedisUrl) -> Result<Kind, String> {
        let kind = match field(hello, "mode") {
            Some("cluster") => Kind::ClusterNode,
            Some("sentinel") => Kind::Sentinel,
            _ => Kind::Alone,
        };
        let is_replica = matches!(field(hello, "role"), Some("replica" | "slave"));
        let problem = match (self, kind) {
            (Errand::FindMaster { .. }, Kind::Sentinel) | (Errand::Serve { .. }, Kind::ClusterNode) => return Ok(kind),
            (Errand::FindMaster { .. }, _) => "this is no Sentinel; write redis://HOST for Redis itself",
            (_, Kind::Sentinel) => "this is a Sentinel; write redis+sentinel://HOST,HOST/NAME with the name of the master",
            _ if is_replica => "this is a replica, which takes no messages; name the master, or redis+sentinel://HOST,HOST/NAME",
            _ if url.sentinel.is_none() && url.hosts().len() > 1 => {
                "this is no Redis Cluster; name one host, or redis+sentinel://HOST,HOST/NAME"
            }
            _ => return Ok(kind),
        };
        Err(problem.into())
    }
}

/// The server that a refusal names: `MOVED 3999 127.0.0.1:6381`. Without a host it is another port of the same one.
pub(super) fn moved(error: &str) -> Option<(Option<String>, u16)> {
    let place = error.strip_prefix("MOVED ")?.split(' ').nth(1)?;
    let (host, port) = place.rsplit_once(':')?;
    let host = Some(host.to_owned()).filter(|host| !host.is_empty() && host != "?");
    Some((host, port.parse().ok().filter(|port| *port != 0)?))
}

/// The master that a Sentinel names.
pub(super) fn master(reply: &Reply) -> Option<Host> {
    let Reply::Array(items) = reply else { return None };
    let [Reply::Bytes(host), Reply::Bytes(port)] = &items[..] else { return None };
    let (host, port) = (std::str::from_utf8(host).ok()?, std::str::from_utf8(port).ok()?);
    Some((host.to_owned(), port.parse().ok()?))
}

/// Whether this server has become a replica. In a script's error the word is not the first.
pub(super) fn is_read_only(error: &str) -> bool {
    error.starts_with("READONLY") || error.contains("-READONLY ")
}

fn field<'a>(hello: &'a [Reply], name: &str) -> Option<&'a str> {
    hello.chunks_exact(2).find_map(|pair| match pair {
        [Reply::Bytes(key), Reply::Bytes(value)] if key == name => std::str::from_utf8(value).ok(),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(mode: &'static str, role: &'static str) -> Vec<Reply> {
        ["mode", mode, "role", role].map(|text| Reply::Bytes(text.into())).into()
    }

    #[test]
    fn who_is_wrong_is_told_apart() {
        let serve = Errand::Serve { home: "".into() };
        let find = Errand::FindMaster { name: "m".into() };
        let one = RedisUrl::parse("redis://a").unwrap();
        let many = RedisUrl::parse("redis://a,b").unwrap();
        let sentinels = RedisUrl::parse("redis+sentinel://a,b/m").unwrap();
        assert_eq!(serve.check(&[], &one), Ok(Kind::Alone));
        assert_eq!(serve.check(&hello("standalone", "master"), &sentinels), Ok(Kind::Alone));
        assert_eq!(serve.check(&hello("cluster", "replica"), &many), Ok(Kind::ClusterNode), "it names the node");
        assert_eq!(find.check(&hello("sentinel", "master"), &sentinels), Ok(Kind::Sentinel));
        for (errand, url, hello, part) in [
            (&serve, &one, hello("standalone", "replica"), "replica"),
            (&serve, &one, hello("sentinel", "master"), "is a Sentinel"),
            (&serve, &many, hello("standalone", "master"), "no Redis Cluster"),
            (&find, &sentinels, hello("standalone", "master"), "no Sentinel"),
        ] {
            assert!(errand.check(&hello, url).unwrap_err().contains(part), "{part}");
        }
    }

    #[test]
    fn another_server_is_named_in_these_ways() {
        assert_eq!(moved("MOVED 3999 127.0.0.1:6381"), Some((Some("127.0.0.1".into()), 6381)));
        assert_eq!(moved("MOVED 3999 fe80::1:6381"), Some((Some("fe80::1".into()), 6381)));
        assert_eq!(moved("MOVED 3999 :6381"), Some((None, 6381)));
        for text in ["ASK 3999 127.0.0.1:6381", "MOVED", "MOVED 1", "MOVED 1 a", "MOVED 1 a:0", "MOVED 1 a:99999"] {
            assert_eq!(moved(text), None, "{text}");
        }
        let reply = |items: [&'static str; 2]| Reply::Array(items.map(|text| Reply::Bytes(text.into())).into());
        assert_eq!(master(&reply(["10.0.0.1", "6379"])), Some(("10.0.0.1".into(), 6379)));
        assert_eq!((master(&reply(["a", "b"])), master(&Reply::Nil)), (None, None));
        assert!(is_read_only("READONLY You can't write against a read only replica."));
        assert!(is_read_only("ERR Error running script: @user_script:1: -READONLY You can't write"));
        assert!(!is_read_only("ERR READONLY"));
    }
}
