//! Waking the loop from other threads: to stop it, or to hand an application a value.
//!
//! The loop sleeps in its poll until a socket or a deadline wakes it. A thread that has something for an
//! application sends it through a [`Waker`], and the loop calls the application. PHP has no counterpart: one
//! process does one thing there.

use std::any::Any;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use mio::{Registry, Token};

use crate::ids::AppId;

/// Values that may wait for the loop, of all threads together; beyond them a value is given back.
pub const MAX_WAITING: usize = 1024;

type Value = (AppId, Box<dyn Any + Send>);

/// What all handles share with the loop.
#[derive(Clone)]
struct Shared {
    poll: Arc<mio::Waker>,
    stop: Arc<AtomicBool>,
    values: SyncSender<Value>,
}

/// The loop's half.
pub(crate) struct Wakers {
    shared: Shared,
    values: Receiver<Value>,
}

impl Wakers {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Wakers> {
        let (sender, values) = sync_channel(MAX_WAITING);
        let poll = Arc::new(mio::Waker::new(registry, token)?);
        Ok(Wakers { shared: Shared { poll, stop: Arc::default(), values: sender }, values })
    }

    /// A handle that stops the loop.
    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(self.shared.clone())
    }

    /// A handle that sends values to an application.
    pub(crate) fn waker<T: Send + 'static>(&self, app: AppId) -> Waker<T> {
        Waker { shared: self.shared.clone(), app, values: PhantomData }
    }

    /// Whether the loop was asked to stop since the last time.
    pub(crate) fn asks_to_stop(&self) -> bool {
        self.shared.stop.swap(false, Ordering::Relaxed)
    }

    /// The next value, and whom it is for.
    pub(crate) fn next(&self) -> Option<Value> {
        self.values.try_recv().ok()
    }
}

/// Stops a server from another thread, as SIGTERM does.
#[derive(Clone)]
pub struct Stopper(Shared);

impl Stopper {
    /// Asks the server to stop: it tells its clients and ends once they have gone.
    pub fn stop(&self) -> io::Result<()> {
        self.0.stop.store(true, Ordering::Relaxed);
        self.0.poll.wake()
    }
}

impl fmt::Debug for Stopper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Stopper")
    }
}

/// Sends values of one type from any thread to one application, whose
/// [`on_wake`](crate::Resource::on_wake) gets them in the loop's thread.
///
/// ```no_run
/// # use phpws::{Address, Limits, Resource, Server, Value, WebSocketServer};
/// # struct Prices;
/// impl Resource for Prices {
///     fn on_wake(&mut self, server: &mut Server, value: Value) {
///         if let Ok(price) = value.downcast::<f64>() {
///             server.broadcast(Default::default(), &format!(r#"{{"opcode":"price","price":{price}}}"#));
///         }
///     }
/// }
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut server = WebSocketServer::bind(&Address::default(), None, Limits::default())?;
/// server.register_resource("/prices", Prices)?;
/// let waker = server.waker::<f64>("/prices")?;
/// std::thread::spawn(move || waker.send(9.99));
/// # Ok(()) }
/// ```
pub struct Waker<T> {
    shared: Shared,
    app: AppId,
    values: PhantomData<fn(T)>,
}

impl<T: Send + 'static> Waker<T> {
    /// Queues a value and wakes the loop. It never blocks: where [`MAX_WAITING`] values wait, or the server has
    /// ended, the value is given back.
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        let given_back = |(_, value): Value| value.downcast::<T>().ok().map(|value| *value);
        match self.shared.values.try_send((self.app, Box::new(value))) {
            Ok(()) => {
                // Where the poll can't be woken the loop finds the value with the next one.
                let _ = self.shared.poll.wake();
                Ok(())
            }
            Err(TrySendError::Full(value)) => Err(SendError { value: given_back(value), ended: false }),
            Err(TrySendError::Disconnected(value)) => Err(SendError { value: given_back(value), ended: true }),
        }
    }
}

impl<T> Clone for Waker<T> {
    fn clone(&self) -> Waker<T> {
        Waker { shared: self.shared.clone(), app: self.app, values: PhantomData }
    }
}

impl<T> fmt::Debug for Waker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}

/// A value that was not taken.
pub struct SendError<T> {
    value: Option<T>,
    ended: bool,
}

impl<T> SendError<T> {
    /// The value.
    pub fn into_value(self) -> Option<T> {
        self.value
    }

    /// Whether the server has ended, so that trying again is of no use.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

impl<T> fmt::Debug for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<T> fmt::Display for SendError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            true => f.write_str("the server has ended"),
            false => write!(f, "{MAX_WAITING} values wait for the loop"),
        }
    }
}

impl<T> std::error::Error for SendError<T> {}
