//! What the caller passes and gets: the types of tensors and the structs of the model's own argument names.

use super::literal;
use super::names::{self, Scope};
use crate::diag::{Diagnostic, Errors, Kind};
use crate::ir::{Graph, InputKind, OutputKind, PathPart, Scalar, TensorType};
use crate::options::Options;
use crate::sym::Expr;
use exported_runtime::DType;
use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

/// How a tensor appears in the interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// All sizes static: `&[[f32; 3]; 2]`.
    Nested,
    /// Only the outermost size depends on the call: `&[[f32; 3]]`.
    Rows,
    /// `rt::TensorRef`.
    Shaped,
}

/// A tensor of the interface, dims in the order of the caller's memory.
#[derive(Clone, Debug)]
pub(super) struct Tensor {
    pub(super) form: Form,
    pub(super) dtype: DType,
    pub(super) sizes: Vec<Expr>,
    /// Logical dim of each of `sizes`.
    pub(super) order: Vec<usize>,
    /// An input that the call changes.
    pub(super) mutable: bool,
}

impl Tensor {
    pub(super) fn new(ty: &TensorType, order: Vec<usize>) -> Tensor {
        let sizes: Vec<Expr> = order.iter().map(|&d| ty.shape[d].clone()).collect();
        let fixed = |e: &Expr| e.as_int().is_some();
        let form = match sizes.split_first() {
            _ if sizes.iter().all(fixed) => Form::Nested,
            Some((_, inner)) if inner.iter().all(fixed) => Form::Rows,
            _ => Form::Shaped,
        };
        Tensor { form, dtype: ty.dtype, sizes, order, mutable: false }
    }

    /// The type of one element in the interface.
    pub(super) fn item(&self) -> TokenStream {
        if self.dtype == DType::Bool { quote!(bool) } else { super::memory::element(self.dtype) }
    }

    /// The nested array of the sizes from `skip` on.
    pub(super) fn array(&self, skip: usize) -> TokenStream {
        self.sizes[skip..].iter().rev().fold(self.item(), |inner, size| {
            let size = super::memory::size(size);
            quote!([#inner; #size])
        })
    }

    /// The reference a field of `Inputs` or `Outputs` holds.
    pub(super) fn reference(&self) -> TokenStream {
        self.borrowed(&quote!('a), self.mutable)
    }

    /// The buffer a field of `OutputsMut` holds.
    pub(super) fn buffer(&self) -> TokenStream {
        match self.form {
            Form::Nested | Form::Rows => self.borrowed(&quote!('a), true),
            Form::Shaped => {
                let item = self.item();
                quote!(&'a mut [#item])
            }
        }
    }

    /// A reference to the tensor in its form; without a lifetime, as an argument of a function.
    pub(super) fn borrowed(&self, lifetime: &TokenStream, mutable: bool) -> TokenStream {
        let mutability = if mutable { quote!(mut) } else { quote!() };
        match self.form {
            Form::Nested => {
                let array = self.array(0);
                quote!(&#lifetime #mutability #array)
            }
            Form::Rows => {
                let row = self.array(1);
                quote!(&#lifetime #mutability [#row])
            }
            Form::Shaped => {
                let (item, rank) = (self.item(), literal(self.sizes.len()));
                let name = if mutable { quote!(TensorMut) } else { quote!(TensorRef) };
                let lifetime = if lifetime.is_empty() { &quote!('_) } else { lifetime };
                quote!(rt::#name<#lifetime, #item, #rank>)
            }
        }
    }

    /// The tensor of these elements (`&[T]`, `u8` for bool), in its form; sizes are locals of their symbols' names.
    pub(super) fn view(&self, items: TokenStream) -> TokenStream {
        let fault = quote!(.ok_or(rt::Error::Internal)?);
        let items = if self.dtype == DType::Bool { quote!(rt::bools(#items)#fault) } else { items };
        let sizes: Vec<TokenStream> = self.sizes.iter().map(super::memory::size).collect();
        match (self.form, sizes.first()) {
            (Form::Nested, _) => quote!(rt::nested(#items)#fault),
            (Form::Rows, Some(len)) => quote!(rt::nested_slice(#items, #len)#fault),
            _ => quote!(rt::TensorRef::new(#items, [#(#sizes),*])#fault),
        }
    }

    /// The mutable form of [`Tensor::view`]; what a bool tensor held is cleared, as it may be no bool.
    pub(super) fn view_mut(&self, items: TokenStream) -> TokenStream {
        let fault = quote!(.ok_or(rt::Error::Internal)?);
        let items = match self.dtype {
            DType::Bool => quote!(rt::bools_mut({ let items: &mut [u8] = #items; items.fill(0); items })#fault),
            _ => items,
        };
        let sizes: Vec<TokenStream> = self.sizes.iter().map(super::memory::size).collect();
        match (self.form, sizes.first()) {
            (Form::Nested, _) => quote!(rt::nested_mut(#items)#fault),
            (Form::Rows, Some(len)) => quote!(rt::nested_slice_mut(#items, #len)#fault),
            _ => quote!(rt::TensorMut::new(#items, [#(#sizes),*])#fault),
        }
    }

    /// `f32[s77, 3]`, as `print(ep)` shows it.
    pub(super) fn text(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(Expr::to_string).collect();
        format!("{}[{}]", self.dtype.name(), sizes.join(", "))
    }
}

/// A node of the caller's nested arguments or results.
#[derive(Debug)]
pub(super) enum Tree {
    /// Fields: Rust name, name in the model, content.
    Struct(Vec<(Ident, String, Tree)>),
    /// Index into the flattened list.
    Leaf(usize),
}

/// What a leaf is.
#[derive(Clone, Debug)]
pub(super) enum Leaf {
    Tensor(Tensor),
    /// On the input side an integer, bound to an expression.
    Number(Expr),
    Constant(Scalar),
}

/// Inputs and outputs of a model.
pub(super) struct Interface {
    pub(super) inputs: Vec<Leaf>,
    pub(super) outputs: Vec<Leaf>,
    pub(super) input_tree: Tree,
    pub(super) output_tree: Tree,
    /// `inputs.batch.x` without the `inputs`.
    pub(super) input_fields: Vec<Option<TokenStream>>,
    /// The same for outputs.
    pub(super) output_fields: Vec<Option<TokenStream>>,
}

impl Interface {
    /// Names everything.
    ///
    /// # Errors
    /// Names that collide in Rust.
    pub(super) fn new(graph: &Graph, options: &Options) -> Result<Interface, Errors> {
        let mut errors = Errors::default();
        let changed = |i: usize| graph.outputs.iter().any(|o| o.mutates == Some(i));
        let inputs = graph.inputs.iter().enumerate().map(|(i, input)| input_leaf(graph, options, input, changed(i)));
        let inputs: Vec<Leaf> = inputs.collect();
        // The new value of an input has the form of that input.
        let outputs: Vec<Leaf> = graph
            .outputs
            .iter()
            .map(|o| match o.mutates {
                Some(input) => inputs[input].clone(),
                None => output_leaf(graph, &o.kind),
            })
            .collect();
        // A value frozen at export is no argument; it is a constant of the module.
        let shown = |leaf: &Leaf| !matches!(leaf, Leaf::Constant(_));
        let paths = graph.inputs.iter().map(|i| i.path.clone()).zip(&inputs).enumerate();
        let paths = paths.filter(|(_, (_, leaf))| shown(leaf)).map(|(i, (path, _))| (path, i)).collect();
        let input_tree = tree(paths, "arguments", &mut errors);
        let returned = graph.outputs.iter().enumerate().filter(|(_, o)| o.mutates.is_none());
        let named = returned.map(|(i, o)| (output_path(&o.path, i, options), i)).collect();
        let output_tree = tree(named, "outputs", &mut errors);
        for &index in options.output_names.keys().filter(|i| **i >= outputs.len()) {
            let message = format!("there is no output {index} to name; the model has {}", outputs.len());
            errors.push(Diagnostic::new(Kind::Usage, message));
        }
        for name in options.layouts.keys() {
            let fits = |i: &crate::ir::Input, leaf: &Leaf| {
                i.name == *name && matches!(leaf, Leaf::Tensor(t) if t.order.len() >= 3)
            };
            if !graph.inputs.iter().zip(&inputs).any(|(i, leaf)| fits(i, leaf)) {
                let known: Vec<String> = graph.inputs.iter().map(|i| format!("`{}`", i.name)).collect();
                let message = format!("layout of `{name}`, which is no tensor argument of three or more dims");
                errors.push(
                    Diagnostic::new(Kind::Usage, message).help(format!("the arguments are {}", known.join(", "))),
                );
            }
        }
        let mut input_fields = vec![None; inputs.len()];
        field_paths(&input_tree, &quote!(), &mut input_fields);
        let mut output_fields = vec![None; outputs.len()];
        field_paths(&output_tree, &quote!(), &mut output_fields);
        errors.into_result(Interface { inputs, outputs, input_tree, output_tree, input_fields, output_fields })
    }

    /// All elements of an input as a slice.
    pub(super) fn flat(&self, input: usize) -> Result<TokenStream, Diagnostic> {
        match (self.inputs.get(input), self.input_fields.get(input)) {
            (Some(Leaf::Tensor(t)), Some(Some(field))) if t.form == Form::Shaped => {
                Ok(quote!(rt::flat(inputs #field.data())))
            }
            (Some(Leaf::Tensor(t)), Some(Some(field))) if t.mutable => Ok(quote!(rt::flat(&*inputs #field))),
            (Some(Leaf::Tensor(_)), Some(Some(field))) => Ok(quote!(rt::flat(inputs #field))),
            _ => Err(Diagnostic::bug(format!("input {input} is no tensor"))),
        }
    }

    /// Whether the call changes some of its arguments.
    pub(super) fn changes_inputs(&self) -> bool {
        self.inputs.iter().any(|leaf| matches!(leaf, Leaf::Tensor(t) if t.mutable))
    }

    /// Whether a tree borrows anything.
    pub(super) fn borrows(tree: &Tree, leaves: &[Leaf]) -> bool {
        match tree {
            Tree::Leaf(i) => matches!(leaves[*i], Leaf::Tensor(_)),
            Tree::Struct(fields) => fields.iter().any(|(_, _, t)| Self::borrows(t, leaves)),
        }
    }

    /// `Inputs<'lifetime>`, or `Inputs` when nothing is borrowed.
    pub(super) fn inputs_type(&self, lifetime: &TokenStream) -> TokenStream {
        if Self::borrows(&self.input_tree, &self.inputs) { quote!(Inputs<#lifetime>) } else { quote!(Inputs) }
    }

    /// The same for `Outputs`.
    pub(super) fn outputs_type(&self, name: &str, lifetime: &TokenStream) -> TokenStream {
        let name = names::ident(name);
        if Self::borrows(&self.output_tree, &self.outputs) { quote!(#name<#lifetime>) } else { quote!(#name) }
    }
}

fn input_leaf(graph: &Graph, options: &Options, input: &crate::ir::Input, mutable: bool) -> Leaf {
    match &input.kind {
        InputKind::Tensor(v) => {
            let ty = TensorType { dtype: graph.ty(*v).dtype, shape: graph.stated_shape(input) };
            let order = crate::lower::input_order(options, &input.name, ty.shape.len());
            Leaf::Tensor(Tensor { mutable, ..Tensor::new(&ty, order) })
        }
        InputKind::Int(e) => Leaf::Number(e.clone()),
        InputKind::Constant(c) => Leaf::Constant(c.clone()),
    }
}

fn output_leaf(graph: &Graph, kind: &OutputKind) -> Leaf {
    match kind {
        OutputKind::Tensor(v) => {
            let ty = graph.ty(*v);
            Leaf::Tensor(Tensor::new(ty, (0..ty.shape.len()).collect()))
        }
        OutputKind::Number(e) => Leaf::Number(e.clone()),
        OutputKind::Constant(c) => Leaf::Constant(c.clone()),
    }
}

pub(super) fn output_path(path: &[PathPart], index: usize, options: &Options) -> Vec<PathPart> {
    let mut path = path.to_vec();
    if path.is_empty() {
        path.push(PathPart::Key("output".into()));
    }
    if let (Some(name), Some(last)) = (options.output_names.get(&index), path.last_mut()) {
        *last = PathPart::Key(name.clone());
    }
    path
}

/// A leaf's path and its index.
type Located = (Vec<PathPart>, usize);

/// Groups leaves by the first part of their paths, in order.
fn tree(leaves: Vec<Located>, what: &str, errors: &mut Errors) -> Tree {
    let mut groups: Vec<(PathPart, Vec<Located>)> = Vec::new();
    for (path, leaf) in leaves {
        let Some((first, rest)) = path.split_first() else { return Tree::Leaf(leaf) };
        let entry = (rest.to_vec(), leaf);
        match groups.iter_mut().find(|(part, _)| part == first) {
            Some((_, group)) => group.push(entry),
            None => groups.push((first.clone(), vec![entry])),
        }
    }
    let mut scope = Scope::default();
    let mut fields = Vec::new();
    for (part, group) in groups {
        let name = match &part {
            PathPart::Key(key) => key.clone(),
            PathPart::Index(i) => format!("_{i}"),
        };
        if group.len() > 1 && group.iter().any(|(rest, _)| rest.is_empty()) {
            errors.push(Diagnostic::new(Kind::Usage, format!("two {what} are called `{name}`")));
        }
        let ident = names::field(&name);
        scope.claim(&ident.to_string(), &name, what, errors);
        fields.push((ident, name, tree(group, what, errors)));
    }
    Tree::Struct(fields)
}

fn field_paths(tree: &Tree, prefix: &TokenStream, paths: &mut [Option<TokenStream>]) {
    match tree {
        Tree::Leaf(i) => paths[*i] = Some(prefix.clone()),
        Tree::Struct(fields) => {
            for (name, _, inner) in fields {
                field_paths(inner, &quote!(#prefix.#name), paths);
            }
        }
    }
}

/// One of the families of structs.
pub(super) struct Structs<'a> {
    /// `Inputs`, `Outputs` or `OutputsMut`.
    pub(super) root: &'static str,
    /// Documentation of the root.
    pub(super) about: String,
    pub(super) leaves: &'a [Leaf],
    /// Type and documentation of a leaf; `None` leaves the field out.
    pub(super) field: &'a dyn Fn(usize) -> Option<(TokenStream, String)>,
    pub(super) derives: TokenStream,
}

impl Structs<'_> {
    /// The structs of a tree, root first.
    pub(super) fn print(&self, tree: &Tree) -> TokenStream {
        let mut out = TokenStream::new();
        self.node(tree, self.root, &self.about, &mut out);
        out
    }

    fn node(&self, tree: &Tree, name: &str, about: &str, out: &mut TokenStream) {
        let Tree::Struct(fields) = tree else { return };
        let mut printed = Vec::new();
        let mut inner = TokenStream::new();
        for (ident, original, content) in fields {
            let (ty, doc) = match content {
                Tree::Leaf(i) => match (self.field)(*i) {
                    Some(field) => field,
                    None => continue,
                },
                Tree::Struct(_) => {
                    let child = format!("{name}{}", names::camel(original));
                    self.node(content, &child, &format!("Part `{original}` of [`{name}`]."), &mut inner);
                    let child = Ident::new(&child, Span::call_site());
                    let lifetime = if Interface::borrows(content, self.leaves) { quote!(<'a>) } else { quote!() };
                    (quote!(#child #lifetime), format!("`{original}`"))
                }
            };
            let doc = super::doc(&doc);
            printed.push(quote!(#doc pub #ident: #ty));
        }
        let (derives, about) = (&self.derives, super::doc(about));
        let lifetime = if Interface::borrows(tree, self.leaves) { quote!(<'a>) } else { quote!() };
        let name = Ident::new(name, Span::call_site());
        out.extend(quote! {
            #about
            #derives
            #[allow(dead_code, non_snake_case, clippy::pedantic)]
            pub struct #name #lifetime { #(#printed),* }
            #inner
        });
    }
}
