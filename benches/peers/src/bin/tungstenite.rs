//! An echo server on tokio-tungstenite: one thread, no delay, answers to frames that came together
//! leave together.

use std::error::Error;

use futures_util::{FutureExt, SinkExt, StreamExt};
use peers::Options;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WebSocketError, Message};

fn main() -> Result<(), Box<dyn Error>> {
    let options = Options::from_args()?;
    let tls = options.tls()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(options.listen()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            tokio::spawn(tokio::task::unconstrained(connection(stream, tls.clone())));
        }
    })
}

async fn connection(stream: TcpStream, tls: Option<TlsAcceptor>) {
    match tls {
        None => _ = echo(stream).await,
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                _ = echo(stream).await;
            }
        }
    }
}

async fn echo<S: AsyncRead + AsyncWrite + Unpin>(stream: S) -> Result<(), WebSocketError> {
    // It writes zeros over its read buffer before each read: 8 KiB halve the cost of small messages that
    // its default of 128 KiB has, and large ones are as fast. Limits as the others have them.
    let config =
        WebSocketConfig::default().read_buffer_size(8 << 10).max_message_size(Some(64 << 20)).max_frame_size(Some(64 << 20));
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(config)).await?;
    while let Some(message) = socket.next().await {
        answer(&mut socket, message?).await?;
        while let Some(Some(message)) = socket.next().now_or_never() {
            answer(&mut socket, message?).await?;
        }
        socket.flush().await?;
    }
    Ok(())
}

async fn answer<S: AsyncRead + AsyncWrite + Unpin>(
    socket: &mut tokio_tungstenite::WebSocketStream<S>,
    message: Message,
) -> Result<(), WebSocketError> {
    match message {
        Message::Text(_) | Message::Binary(_) => socket.feed(message).await,
        _ => Ok(()),
    }
}
