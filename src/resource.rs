//! What an application is: a [`Resource`] registered under a path.
//!
//! PHP counterpart: `resource.php`. An application gets the [`Server`] with every call instead of
//! keeping a pointer to it (`registerServer`), and never sees a socket.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::ids::{AppId, SocketId};
use crate::packet::Message;
use crate::printable::Printable;
use crate::rfc6455::CloseCode;
use crate::server::Server;
use crate::server::delivery::Outcome;

/// A value that another thread sends an application; `downcast` makes of it what it was.
pub type Value = Box<dyn Any + Send>;

/// An application. Every method has a default, as in PHP's base class; the server comes with each
/// call and need not be registered with it.
#[doc(alias = "registerServer")]
#[doc(alias = "registerServerMethods")]
pub trait Resource {
    /// The server is about to start: the place to ask for the first timer.
    fn on_start(&mut self, _server: &mut Server) {}

    /// A client passed all checks and was told `ready`.
    #[doc(alias = "onOpen")]
    fn on_open(&mut self, _server: &mut Server, _id: SocketId) {}

    /// A message came; `next` is already queued.
    #[doc(alias = "onData")]
    fn on_data(&mut self, _server: &mut Server, _id: SocketId, _message: Message<'_>) {}

    /// A client that was opened is gone. Its record can still be read, nothing reaches it any more.
    #[doc(alias = "onClose")]
    fn on_close(&mut self, _server: &mut Server, _id: SocketId) {}

    /// A client's connection failed; `on_close` follows.
    #[doc(alias = "onError")]
    fn on_error(&mut self, _server: &mut Server, _id: SocketId, _message: &str) {}

    /// The time asked for with [`Server::call_after`] is over.
    fn on_timer(&mut self, _server: &mut Server, _tag: u64) {}

    /// Another thread sent a value through a [`Waker`](crate::Waker) of this resource.
    fn on_wake(&mut self, _server: &mut Server, _value: Value) {}

    /// What became of a message that was sent with [`Server::send_and_tell`] under this number.
    fn on_sent(&mut self, _server: &mut Server, _number: u64, _outcome: &Outcome) {}

    /// Asked once, at registration, like the two below: whether clients of this resource get `ready` and `next`, and take part in `broadcast` and
    /// `feedback`. Without it the resource is a plain WebSocket server.
    fn dialog(&self) -> bool {
        true
    }

    /// Whether the handshake must carry an `Origin`, unless the server is set to do without.
    fn origin_required(&self) -> bool {
        true
    }

    /// Whether the request that opened a connection stays readable after `on_open`, at about half a
    /// kilobyte for each browser.
    fn keeps_request(&self) -> bool {
        true
    }
}

/// What an application says of itself, asked once when it is registered.
#[derive(Clone, Copy)]
pub(crate) struct AppOptions {
    pub(crate) dialog: bool,
    pub(crate) origin_required: bool,
    pub(crate) keeps_request: bool,
}

/// As for a path that nobody serves.
impl Default for AppOptions {
    fn default() -> AppOptions {
        AppOptions { dialog: true, origin_required: true, keeps_request: false }
    }
}

struct App {
    path: Box<str>,
    options: AppOptions,
    resource: Box<dyn Resource>,
}

/// The applications by path; PHP's `$allApps`.
#[derive(Default)]
#[doc(alias = "allApps")]
pub(crate) struct AllApps {
    apps: Vec<App>,
    fallback: Option<AppId>,
}

impl AllApps {
    /// Adds an application; `false` where the path is taken.
    pub(crate) fn insert(&mut self, path: &str, resource: Box<dyn Resource>) -> bool {
        let free = self.apps.iter().all(|app| *app.path != *path);
        if free {
            let options = AppOptions {
                dialog: resource.dialog(),
                origin_required: resource.origin_required(),
                keeps_request: resource.keeps_request(),
            };
            self.apps.push(App { path: path.into(), options, resource });
        }
        free
    }

    /// Adds the application for every path that has none of its own.
    pub(crate) fn insert_fallback(&mut self, resource: Box<dyn Resource>) -> bool {
        let id = AppId::of(self.apps.len());
        let free = self.fallback.is_none() && self.insert("*", resource);
        self.fallback = self.fallback.or(free.then_some(id));
        free
    }

    /// The application of a path.
    pub(crate) fn find(&self, path: &str) -> Option<AppId> {
        let own = self.apps.iter().position(|app| *app.path == *path && path != "*");
        own.map(AppId::of).or(self.fallback)
    }

    pub(crate) fn options(&self, id: AppId) -> AppOptions {
        self.apps[id.index()].options
    }

    /// Calls an application, for a client where there is one. A panic ends there: it is logged with
    /// the application's path and closes that client, unless the limits say that it ends the process.
    pub(crate) fn call(
        &mut self,
        app: AppId,
        server: &mut Server,
        client: Option<SocketId>,
        callback: impl FnOnce(&mut dyn Resource, &mut Server),
    ) {
        let resource = &mut self.apps[app.index()].resource;
        server.current.app = Some(app);
        let outcome = catch_unwind(AssertUnwindSafe(|| callback(&mut **resource, server)));
        server.current.app = None;
        if let Err(panic) = outcome {
            self.panicked(app, server, client, panic);
        }
    }

    #[cold]
    fn panicked(&self, app: AppId, server: &mut Server, client: Option<SocketId>, panic: Box<dyn Any + Send>) {
        log::error!("Application {} panicked: {}", self.path(app), Printable(panic_message(&*panic)));
        if server.limits().exit_on_panic {
            resume_unwind(panic);
        }
        if let Some(id) = client {
            server.dismiss(id, Some("Application failed"), CloseCode::INTERNAL_ERROR);
        }
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = AppId> + use<> {
        (0..self.apps.len()).map(AppId::of)
    }

    pub(crate) fn path(&self, id: AppId) -> &str {
        &self.apps[id.index()].path
    }

    pub(crate) fn paths(&self) -> impl Iterator<Item = &str> {
        self.apps.iter().map(|app| &*app.path)
    }
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let literal = panic.downcast_ref::<&str>().copied();
    literal.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("without a message")
}
