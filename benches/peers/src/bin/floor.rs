//! The floor for echo: what the kernel and mio cost without any protocol. It writes back what it read.

use peers::{Options, bare};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let listener = Options::from_args()?.listen()?;
    Ok(bare::serve::<()>(listener, |connections, index, bytes| connections.send(index, bytes))?)
}
