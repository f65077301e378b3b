//! A pickle machine that builds plain data and executes nothing.
//!
//! Takes the opcodes that `torch.save` writes (protocols 2 to 5); gives a flat [`Heap`] of nodes. A `GLOBAL` is a name,
//! and what `REDUCE` calls is a pair of callee and arguments: whoever reads the heap decides which names mean anything
//! ([`super::torch_save`] knows a dozen). Nodes refer to each other by number, so that the memo shares instead of
//! copying, and neither depth nor cycles of the data cost stack.

use crate::diag::Diagnostic;
use std::collections::BTreeMap;

/// Number of a node.
pub(super) type Id = u32;

/// A value of the pickle.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    /// Module and name.
    Global(&'a str, &'a str),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A persistent id: torch's way to name a storage.
    Persistent(Id),
    /// What would be a call: callee and argument tuple.
    Call {
        callee: Id,
        args: Id,
        /// Items set on the result (`OrderedDict`).
        items: Vec<(Id, Id)>,
    },
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Heap<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
}

impl<'a> Heap<'a> {
    /// The pickled object.
    pub(super) fn root(&self) -> Id {
        self.root
    }

    /// The value of that number.
    pub(super) fn node(&self, id: Id) -> &Node<'a> {
        &self.nodes[id as usize]
    }
}

/// Runs a pickle. Every node, item and memo entry is debited from `budget` before it is stored.
///
/// # Errors
/// Truncated, malformed, over budget, or an opcode outside the list.
pub(super) fn run<'a>(bytes: &'a [u8], budget: &mut usize) -> Result<Heap<'a>, Diagnostic> {
    let mut machine = Machine {
        bytes,
        at: 0,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: BTreeMap::new(),
        budget,
    };
    let root = machine.run()?;
    Ok(Heap { nodes: machine.nodes, root })
}

struct Machine<'a, 'b> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    /// Stack heights at the open `MARK`s.
    marks: Vec<usize>,
    memo: BTreeMap<u32, Id>,
    budget: &'b mut usize,
}

impl<'a> Machine<'a, '_> {
    fn run(&mut self) -> Result<Id, Diagnostic> {
        loop {
            let opcode_at = self.at;
            let opcode = self.byte()?;
            if opcode == b'.' {
                return self.pop();
            }
            let done = self.scalar(opcode)? || self.container(opcode)? || self.bookkeeping(opcode)?;
            if !done {
                return Err(Diagnostic::damaged(format!(
                    "pickle opcode 0x{opcode:02x} at byte {opcode_at} is none that `torch.save` writes for tensors"
                )));
            }
        }
    }

    /// Opcodes that push one value spelled out behind them.
    fn scalar(&mut self, opcode: u8) -> Result<bool, Diagnostic> {
        let node = match opcode {
            b'N' => Node::None,
            0x88 => Node::Bool(true),
            0x89 => Node::Bool(false),
            b'J' => Node::Int(i64::from(i32::from_le_bytes(self.array()?))),
            b'K' => Node::Int(i64::from(self.byte()?)),
            b'M' => Node::Int(i64::from(u16::from_le_bytes(self.array()?))),
            0x8a => {
                let len = usize::from(self.byte()?);
                self.long(len)?
            }
            b'G' => Node::Float(f64::from_be_bytes(self.array()?)),
            b'X' => {
                let len = u32::from_le_bytes(self.array()?);
                self.text(u64::from(len))?
            }
            0x8c => {
                let len = self.byte()?;
                self.text(u64::from(len))?
            }
            0x8d => {
                let len = u64::from_le_bytes(self.array()?);
                self.text(len)?
            }
            b'B' => {
                let len = u32::from_le_bytes(self.array()?);
                Node::Bytes(self.take(u64::from(len))?)
            }
            b'C' => {
                let len = self.byte()?;
                Node::Bytes(self.take(u64::from(len))?)
            }
            0x8e => {
                let len = u64::from_le_bytes(self.array()?);
                Node::Bytes(self.take(len)?)
            }
            b'c' => Node::Global(self.line()?, self.line()?),
            0x93 => {
                let (name, module) = (self.pop_text()?, self.pop_text()?);
                Node::Global(module, name)
            }
            _ => return Ok(false),
        };
        self.push(node)?;
        Ok(true)
    }

    /// Opcodes that build values from those on the stack.
    fn container(&mut self, opcode: u8) -> Result<bool, Diagnostic> {
        let node = match opcode {
            b')' => Node::Tuple(Vec::new()),
            b']' => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            b't' => Node::Tuple(self.pop_mark()?),
            b'l' => Node::List(self.pop_mark()?),
            b'd' => Node::Dict(pairs(&self.pop_mark()?)?),
            0x85..=0x87 => Node::Tuple(self.pop_many(usize::from(opcode - 0x84))?),
            b'Q' => Node::Persistent(self.pop()?),
            // NEWOBJ differs from REDUCE in how Python calls; here nobody does.
            b'R' | 0x81 => {
                let (args, callee) = (self.pop()?, self.pop()?);
                Node::Call { callee, args, items: Vec::new() }
            }
            b's' => {
                let items = self.pop_many(2)?;
                self.set_items(&items)?;
                return Ok(true);
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.set_items(&items)?;
                return Ok(true);
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
                return Ok(true);
            }
            b'e' => {
                let items = self.pop_mark()?;
                self.append(&items)?;
                return Ok(true);
            }
            // BUILD sets attributes (`_metadata` of a state dict), which no tensor needs.
            b'b' => {
                self.pop()?;
                self.top()?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        self.push(node)?;
        Ok(true)
    }

    /// Opcodes about the machine itself.
    fn bookkeeping(&mut self, opcode: u8) -> Result<bool, Diagnostic> {
        match opcode {
            0x80 => {
                let protocol = self.byte()?;
                if !(2..=5).contains(&protocol) {
                    return Err(Diagnostic::damaged(format!("pickle protocol {protocol} is not one of 2 to 5")));
                }
            }
            0x95 => self.at = self.at.saturating_add(8),
            b'(' => {
                self.debit(1)?;
                self.marks.push(self.stack.len());
            }
            b'q' => {
                let key = self.byte()?;
                self.memoize(u32::from(key))?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.memoize(key)?;
            }
            0x94 => {
                let key = u32::try_from(self.memo.len()).unwrap_or(u32::MAX);
                self.memoize(key)?;
            }
            b'h' => {
                let key = self.byte()?;
                self.recall(u32::from(key))?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            b'0' => {
                self.pop()?;
            }
            b'1' => {
                self.pop_mark()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn debit(&mut self, count: usize) -> Result<(), Diagnostic> {
        *self.budget = self
            .budget
            .checked_sub(count)
            .ok_or_else(|| Diagnostic::damaged("the pickled weights hold more objects than the limit allows"))?;
        Ok(())
    }

    fn push(&mut self, node: Node<'a>) -> Result<(), Diagnostic> {
        self.debit(1)?;
        // The budget counts nodes in a `usize` far below 2^32.
        let id = Id::try_from(self.nodes.len()).map_err(|_| malformed("has too many objects"))?;
        self.nodes.push(node);
        self.stack.push(id);
        Ok(())
    }

    /// Lowest stack height that values may be taken from.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    fn pop(&mut self) -> Result<Id, Diagnostic> {
        if self.stack.len() > self.floor()
            && let Some(id) = self.stack.pop()
        {
            return Ok(id);
        }
        Err(malformed("takes a value from an empty stack"))
    }

    fn top(&self) -> Result<Id, Diagnostic> {
        match self.stack.last() {
            Some(id) if self.stack.len() > self.floor() => Ok(*id),
            _ => Err(malformed("looks at an empty stack")),
        }
    }

    fn pop_many(&mut self, count: usize) -> Result<Vec<Id>, Diagnostic> {
        self.debit(count)?;
        match self.stack.len().checked_sub(count) {
            Some(start) if start >= self.floor() => Ok(self.stack.split_off(start)),
            _ => Err(malformed("takes values from an empty stack")),
        }
    }

    fn pop_mark(&mut self) -> Result<Vec<Id>, Diagnostic> {
        let start = self.marks.pop().ok_or_else(|| malformed("closes a mark it never set"))?;
        let items = self.stack.split_off(start.min(self.stack.len()));
        self.debit(items.len())?;
        Ok(items)
    }

    fn pop_text(&mut self) -> Result<&'a str, Diagnostic> {
        let id = self.pop()?;
        match self.nodes[id as usize] {
            Node::Text(text) => Ok(text),
            _ => Err(malformed("has a name that is no text")),
        }
    }

    fn set_items(&mut self, items: &[Id]) -> Result<(), Diagnostic> {
        let new = pairs(items)?;
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::Dict(items) | Node::Call { items, .. } => items.extend(new),
            _ => return Err(malformed("sets items of a value that is no dict")),
        }
        Ok(())
    }

    fn append(&mut self, new: &[Id]) -> Result<(), Diagnostic> {
        self.debit(new.len())?;
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::List(items) => items.extend_from_slice(new),
            _ => return Err(malformed("appends to a value that is no list")),
        }
        Ok(())
    }

    fn memoize(&mut self, key: u32) -> Result<(), Diagnostic> {
        self.debit(1)?;
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), Diagnostic> {
        self.debit(1)?;
        let id = *self.memo.get(&key).ok_or_else(|| malformed("recalls a value it never stored"))?;
        self.stack.push(id);
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, Diagnostic> {
        Ok(self.array::<1>()?[0])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Diagnostic> {
        let bytes = self.bytes.get(self.at..).and_then(<[u8]>::first_chunk).ok_or_else(truncated)?;
        self.at += N;
        Ok(*bytes)
    }

    fn take(&mut self, len: u64) -> Result<&'a [u8], Diagnostic> {
        let len = usize::try_from(len).map_err(|_| truncated())?;
        let bytes = self.bytes.get(self.at..).and_then(|rest| rest.get(..len)).ok_or_else(truncated)?;
        self.at += len;
        Ok(bytes)
    }

    fn text(&mut self, len: u64) -> Result<Node<'a>, Diagnostic> {
        Ok(Node::Text(utf8(self.take(len)?)?))
    }

    fn line(&mut self) -> Result<&'a str, Diagnostic> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|b| *b == b'\n').ok_or_else(truncated)?;
        self.at += len + 1;
        utf8(&rest[..len])
    }

    /// A little-endian two's complement number of any length up to 8.
    fn long(&mut self, len: usize) -> Result<Node<'a>, Diagnostic> {
        let bytes = self.take(len as u64)?;
        if len > 8 {
            return Err(malformed("has a number beyond 64 bits"));
        }
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let mut full = [if negative { 0xff } else { 0 }; 8];
        full[..len].copy_from_slice(bytes);
        Ok(Node::Int(i64::from_le_bytes(full)))
    }
}

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, Diagnostic> {
    let (pairs, rest) = items.as_chunks::<2>();
    if rest.is_empty() {
        Ok(pairs.iter().map(|&[k, v]| (k, v)).collect())
    } else {
        Err(malformed("has a key without a value"))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Diagnostic> {
    std::str::from_utf8(bytes).map_err(|_| malformed("has a text that is not UTF-8"))
}

fn malformed(what: &str) -> Diagnostic {
    Diagnostic::damaged(format!("the pickle {what}"))
}

fn truncated() -> Diagnostic {
    malformed("ends in the middle")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_with(bytes: &[u8], mut budget: usize) -> Result<Heap<'_>, Diagnostic> {
        run(bytes, &mut budget)
    }

    #[test]
    fn numbers_texts_and_containers() {
        // pickle.dumps({"a": (1, -2, 70000, 2**40, True, None), "b": [1.5]}, protocol) without its memo opcodes.
        let bytes = b"\x80\x02}(X\x01\0\0\0a(K\x01J\xfe\xff\xff\xffJp\x11\x01\0\x8a\x06\0\0\0\0\0\x01\x88NtX\x01\0\0\0b]G?\xf8\0\0\0\0\0\0au.";
        let heap = run_with(bytes, 100).expect("a valid pickle");
        let Node::Dict(items) = heap.node(heap.root()) else { panic!("not a dict") };
        assert_eq!(items.len(), 2);
        assert_eq!(*heap.node(items[0].0), Node::Text("a"));
        let Node::Tuple(values) = heap.node(items[0].1) else { panic!("not a tuple") };
        let values: Vec<_> = values.iter().map(|id| heap.node(*id).clone()).collect();
        let expected = [1, -2, 70000, 1 << 40].map(Node::Int);
        assert_eq!(values[..4], expected);
        assert_eq!(values[4..], [Node::Bool(true), Node::None]);
        let Node::List(list) = heap.node(items[1].1) else { panic!("not a list") };
        assert_eq!(*heap.node(list[0]), Node::Float(1.5));
    }

    #[test]
    fn newer_protocols_and_the_memo_share_values() {
        // Protocol 4: FRAME, SHORT_BINUNICODE, MEMOIZE, STACK_GLOBAL, and `x` twice.
        let bytes = b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05torch\x94\x8c\x04Size\x94\x93\x94h\x02h\x00\x87.";
        let heap = run_with(bytes, 100).expect("a valid pickle");
        let Node::Tuple(values) = heap.node(heap.root()) else { panic!("not a tuple") };
        assert_eq!(values[0], values[1]);
        assert_eq!(*heap.node(values[0]), Node::Global("torch", "Size"));
        assert_eq!(*heap.node(values[2]), Node::Text("torch"));
    }

    #[test]
    fn calls_are_data() {
        let heap = run_with(b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R.", 100).expect("data, not a call");
        let Node::Call { callee, .. } = heap.node(heap.root()) else { panic!("not a call") };
        assert_eq!(*heap.node(*callee), Node::Global("os", "system"));
    }

    #[test]
    fn damage_is_an_error() {
        for bytes in [
            &b""[..],
            b"\x80\x02",
            b"\x80\x09N.",
            b".",
            b"t.",
            b"(.",
            b"N(0.",
            b"NR.",
            b"K\x01u.",
            b"}K\x01(K\x02s.",
            b"}(K\x01u.",
            b"h\x05.",
            b"j\xff\xff\xff\xff.",
            b"X\xff\xff\xff\xffabc.",
            b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc.",
            b"B\xff\xff\xff\x7fabc.",
            b"X\x01\0\0\0\xff.",
            b"\x95\xff\xff\xff\xff\xff\xff\xff\xff",
            b"cos\nsystem",
            b"\x8a\x09\0\0\0\0\0\0\0\0\x01.",
            b"N\xfe.",
            b"i__main__\nX\n.",
            b"S'text'\n.",
        ] {
            assert!(run_with(bytes, 1000).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn bombs_run_out_of_budget() {
        let mut doubling = b"\x80\x02N".to_vec();
        (0..60u8).for_each(|i| doubling.extend([b'q', i, b'h', i, 0x86]));
        doubling.push(b'.');
        assert!(run_with(&doubling, 1000).is_ok(), "shared, so small");
        for bytes in [&b"N"[..], b"(", b"]", b")", b"N0N"] {
            assert!(run_with(&bytes.repeat(2000), 1000).is_err());
        }
        let deep = [&b"N".to_vec()[..], &b"\x85".repeat(100_000), b"."].concat();
        assert!(run_with(&deep, 1 << 20).is_ok(), "depth costs no stack");
    }
}
