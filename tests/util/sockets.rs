//! What the system knows of sockets, so that a test waits for what it needs in place of a time: that the server has
//! read what was sent, and addresses that refuse or do not answer.

use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, SockAddr, Socket, Type};

use super::wait_for;

/// Bytes on the way from the server's process to the client's, and from the client's to the server's: sent, and not yet
/// read at the other end. None where the table lacks the connection: it may, if others come and go while it is read.
fn on_their_way(server: SocketAddr, client: SocketAddr) -> Option<(usize, usize)> {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let queues = |from: SocketAddr, to: SocketAddr| {
        let end = |addr: SocketAddr| format!(":{:04X}", addr.port());
        let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| {
            row.get(1).is_some_and(|text| text.ends_with(&end(from))) && row.get(2).is_some_and(|text| text.ends_with(&end(to)))
        });
        let (tx, rx) = row?[4].split_once(':').unwrap();
        Some((usize::from_str_radix(tx, 16).unwrap(), usize::from_str_radix(rx, 16).unwrap()))
    };
    let (down, unread_up) = queues(server, client)?;
    let (up, unread_down) = queues(client, server)?;
    Some((down + unread_down, up + unread_up))
}

/// Waits until the server has read all that the client sent; gives the bytes that are on their way to the client.
pub fn wait_until_read(server: SocketAddr, client: SocketAddr) -> usize {
    wait_for("the server to have read all", || {
        let (down, up) = on_their_way(server, client)?;
        (up == 0).then_some(down)
    })
}

/// An address at which nobody listens, as long as this value lives: its port is taken.
pub struct Nobody {
    _socket: Socket,
    pub addr: SocketAddr,
}

impl Nobody {
    pub fn new() -> Nobody {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SockAddr::from(SocketAddr::from(([127, 0, 0, 1], 0)))).unwrap();
        let addr = socket.local_addr().unwrap().as_socket().unwrap();
        Nobody { _socket: socket, addr }
    }
}

/// A port that was free a moment ago, for programs that can't be told to choose one. Whoever starts one finds out
/// whether it still was.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
