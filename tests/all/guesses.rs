//! Whoever guesses a secret from an address locks nobody out who comes from there with the right one.

use crate::util::folder::Folder;
use crate::util::{Client, Phpws, json, request};

const TOKEN: &str = "the-old-token-of-yesterday";
/// More than twice what any limit forgives in a burst.
const GUESSES: usize = 500;

/// The statuses of so many wrong requests and of a right one behind them, all of which the server finds at once.
fn flood(server: &Phpws, wrong: &str, right: &str) -> (Vec<u16>, (u16, Client)) {
    let mut clients: Vec<Client> = (0..=GUESSES).map(|_| server.connect()).collect();
    server.at_rest(|| {
        let (last, others) = clients.split_last_mut().unwrap();
        others.iter_mut().for_each(|client| client.send(wrong.as_bytes()));
        last.send(right.as_bytes());
    });
    let status = |client: &mut Client| client.head().split(' ').nth(1).unwrap().parse().unwrap();
    let mut last = clients.pop().unwrap();
    let statuses = clients.iter_mut().map(status).collect();
    let right = status(&mut last);
    (statuses, (right, last))
}

/// Each kind of secret: the server, a wrong request and a right one, and what each is answered; a wrong one also with 429
/// where there is a limit.
#[test]
fn the_right_secret_passes_in_the_middle_of_a_flood_of_wrong_ones() {
    let folder = Folder::new();
    folder.write("sess_right", b"allowconnect|b:1;");
    let tokens = folder.write_secret("tokens", format!("{TOKEN}\n"));
    let path = folder.path().to_str().unwrap().to_owned();
    let with_tokens = ["--publish", "token", "--publish-token-file", &tokens];
    let with_sessions = ["--require-session", "--session-path", &path];
    let http = |request_line: &str, token: &str| {
        format!("{request_line} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n[]")
    };
    let get = |token: &str| http("GET /clients/x", token).replace("Content-Length: 2\r\n\r\n[]", "\r\n");
    let session = |id: &str| request("/web", &format!("Cookie: PHPSESSID={id}\r\n"));
    for (args, wrong, right, statuses, limited) in [
        (&with_tokens[..], http("POST /broadcast", "wrong"), http("POST /broadcast", TOKEN), (401, 200), true),
        (&with_tokens, http("POST /publish", "wrong"), http("POST /publish", TOKEN), (401, 200), true),
        (&with_tokens, http("POST /feedback/x", "wrong"), http("POST /feedback/x", TOKEN), (401, 404), true),
        (&with_tokens, get("wrong"), get(TOKEN), (401, 404), true),
        // A look at a file that is not there: no limit.
        (&with_sessions, session("wrong"), session("right"), (403, 101), false),
    ] {
        let server = Phpws::start(args);
        let (answers, (status, _)) = flood(&server, &wrong, &right);
        assert_eq!(status, statuses.1, "{right}");
        assert!(answers.iter().all(|status| *status == statuses.0 || limited && *status == 429), "{answers:?}");
        assert_eq!(answers.contains(&429), limited, "{wrong}");
    }
}

#[test]
fn the_right_uuid_is_resumed_in_the_middle_of_a_flood_of_wrong_ones() {
    for wrong in ["e7369655-7143-43dd-a710-75937c023233", "none"] {
        let server = Phpws::start(&[]);
        let ready = server.upgrade("/web?resume=", "").text();
        let right = request(&format!("/web?resume={}", json(&ready, "uuid")), "");
        let (answers, (status, mut client)) = flood(&server, &request(&format!("/web?resume={wrong}"), ""), &right);
        assert_eq!(status, 101);
        assert!(client.text().contains(r#""resume":"resumed""#));
        // Two hundred are forgiven, and what a slow test adds to them.
        assert!(answers.iter().filter(|status| **status == 429).count() >= 100, "{answers:?}");
        assert!(answers.iter().filter(|status| **status == 101).count() >= 200, "{answers:?}");
    }
}
