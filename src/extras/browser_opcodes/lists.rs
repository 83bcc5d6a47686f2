//! The lists: opcodes by the path of their resource. Data, which knows no server.

use crate::error::InvalidValue;

/// All resources that have no list of their own.
pub(super) const OTHERS: &str = "*";

/// Lists of opcodes by the path of their resource. Empty lists nothing and so permits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrowserOpcodes {
    pub(super) lists: Vec<List>,
    /// The list that was named last.
    current: usize,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct List {
    pub(super) path: String,
    pub(super) all: bool,
    pub(super) opcodes: Vec<String>,
}

impl BrowserOpcodes {
    /// Adds one item: an opcode, `all` or `none`; `PATH=` before it names the resource for it and the
    /// items that follow, `*=` all resources without a list, which is where the first items go.
    pub fn add(&mut self, item: &str) -> Result<(), InvalidValue> {
        let named = item.split_once('=').filter(|(path, _)| path.starts_with('/') || *path == OTHERS);
        let opcode = named.map_or(item, |(_, opcode)| opcode);
        if opcode.is_empty() {
            return Err(format!("'{item}' names no opcode; write all, none, or opcodes separated by commas").into());
        }
        if let Some(path) = named.map(|(path, _)| path).or(self.lists.is_empty().then_some(OTHERS)) {
            self.current = self.of(path).unwrap_or_else(|| {
                self.lists.push(List { path: path.to_owned(), ..List::default() });
                self.lists.len() - 1
            });
        }
        let list = &mut self.lists[self.current];
        match opcode {
            "all" => list.all = true,
            "none" => {}
            opcode => list.opcodes.push(opcode.to_owned()),
        }
        Ok(())
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// A path that has a list though it is none of these.
    pub(crate) fn stray<'a>(&self, known: impl Iterator<Item = &'a str>) -> Option<&str> {
        let known: Vec<&str> = known.chain([OTHERS]).collect();
        self.lists.iter().map(|list| list.path.as_str()).find(|path| !known.contains(path))
    }

    pub(super) fn of(&self, path: &str) -> Option<usize> {
        self.lists.iter().position(|list| list.path == path)
    }
}
