//! The built-in page and its files, over plain HTTP on the server's port.

use crate::util::Phpws;

/// Status line, headers in lower case, body.
fn get(server: &Phpws, request: &str) -> (String, String, String) {
    let mut client = server.connect();
    client.send(format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
    let head = client.head();
    let (status, headers) = head.split_once("\r\n").unwrap();
    (status.to_owned(), headers.to_ascii_lowercase(), String::from_utf8(client.rest()).unwrap())
}

#[test]
fn the_page_and_all_its_files_are_served() {
    let server = Phpws::start(&[]);
    let (status, headers, html) = get(&server, "GET /?from=curl");
    assert_eq!(status, "HTTP/1.1 200 OK");
    assert!(headers.contains("content-type: text/html; charset=utf-8\r\n"));
    let mut files = 0;
    for attribute in ["src=\"", "href=\""] {
        for path in html.split(attribute).skip(1).filter_map(|rest| rest.split('"').next()).filter(|path| !path.starts_with('#'))
        {
            let (status, headers, body) = get(&server, &format!("GET /{}", path.trim_start_matches("./")));
            assert_eq!(status, "HTTP/1.1 200 OK", "{path}");
            assert!(headers.contains(&format!("content-length: {}\r\n", body.len())) && !body.is_empty());
            files += 1;
        }
    }
    assert!(files >= 3, "stylesheet, script and icon: {html}");
    assert_eq!(get(&server, "GET /socketWebClient.js").0, "HTTP/1.1 200 OK");
}

#[test]
fn the_policy_forbids_inline_scripts_and_foreign_content() {
    let server = Phpws::start(&[]);
    let (_, headers, html) = get(&server, "GET /");
    let policy = headers.lines().find(|line| line.starts_with("content-security-policy: ")).unwrap();
    assert!(policy.contains("default-src 'none'") && policy.contains("script-src 'self'"));
    assert!(!policy.contains("unsafe"));
    assert!(headers.contains("x-content-type-options: nosniff\r\n"));
    for forbidden in ["<style", "style=\"", "onclick=", "javascript:", "src=\"http", "href=\"http"] {
        assert!(!html.contains(forbidden), "{forbidden}");
    }
    assert!(html.split("<script").skip(1).all(|script| script.split('>').next().unwrap().contains("src=")));
}

#[test]
fn head_gives_the_headers_alone() {
    let server = Phpws::start(&[]);
    let (status, headers, body) = get(&server, "HEAD /");
    assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.1 200 OK", ""));
    assert!(headers.contains("content-length: "));
}

#[test]
fn one_setting_turns_the_page_off() {
    let server = Phpws::start(&["--page=off"]);
    assert_eq!(get(&server, "GET /").0, "HTTP/1.1 426 Upgrade Required");
    assert_eq!(get(&server, "GET /page.js").0, "HTTP/1.1 404 Not Found");
}
