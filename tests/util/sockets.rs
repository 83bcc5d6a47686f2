//! Connections that take little, addresses at which there is nobody, and ports for programs that can't choose one.

use std::net::{SocketAddr, TcpListener, TcpStream};

use socket2::{Domain, SockAddr, Socket, Type};

/// A connection whose own end takes few bytes that are not read.
pub fn narrow(addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(8 * 1024).unwrap();
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true).unwrap();
    stream
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
