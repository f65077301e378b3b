//! Structure of the caller's nested arguments: torch's pytree specs.

/// A node of a tree specification. Leaves in order are the flattened values; `None` is a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeSpec {
    /// One value.
    Leaf,
    /// `tuple`.
    Tuple(Vec<TreeSpec>),
    /// `list`.
    List(Vec<TreeSpec>),
    /// `dict`: as many keys as children.
    Dict {
        /// Keys in order.
        keys: Vec<Key>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// `collections.OrderedDict`: as many keys as children.
    OrderedDict {
        /// Keys in order.
        keys: Vec<Key>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// A named tuple: as many fields as children.
    NamedTuple {
        /// Name it is registered under.
        name: String,
        /// Field names.
        fields: Vec<String>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// A dataclass: as many fields as children.
    Dataclass {
        /// Name it is registered under.
        name: String,
        /// Fields that hold a value.
        fields: Vec<String>,
        /// Fields that were `None` and have no child.
        none_fields: Vec<String>,
        /// Values.
        children: Vec<TreeSpec>,
    },
    /// A container only Python knows: children by position.
    Unknown {
        /// Name it is registered under.
        name: String,
        /// Its context, a JSON text.
        context: String,
        /// Values.
        children: Vec<TreeSpec>,
    },
}

/// Key of a dict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// Text.
    String(String),
    /// A number.
    Int(i64),
    /// Anything else, as JSON text.
    Other(String),
}

impl TreeSpec {
    /// The containers and leaves directly inside.
    pub fn children(&self) -> &[TreeSpec] {
        match self {
            TreeSpec::Leaf => &[],
            TreeSpec::Tuple(children) | TreeSpec::List(children) => children,
            TreeSpec::Dict { children, .. }
            | TreeSpec::OrderedDict { children, .. }
            | TreeSpec::NamedTuple { children, .. }
            | TreeSpec::Dataclass { children, .. }
            | TreeSpec::Unknown { children, .. } => children,
        }
    }

    /// Number of flattened values.
    pub fn num_leaves(&self) -> usize {
        match self {
            TreeSpec::Leaf => 1,
            _ => self.children().iter().map(TreeSpec::num_leaves).sum(),
        }
    }
}
