//! Limits on filters, so that their cost grows at most linearly with the payload: known names only; few loops, none nested,
//! and none that walks the payload for each element; few additions, because each copies a string.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr, operators};

use super::FilterError;

/// The functions that filters may call, in addition to CEL's operators and the macros `has`, `all`, `exists`, `exists_one`,
/// `map` and `filter`.
pub(super) const FUNCTIONS: [&str; 8] = [
    "size",
    "contains",
    "startsWith",
    "endsWith",
    "int",
    "uint",
    "double",
    "string",
];
const VARIABLES: [&str; 4] = ["event_type", "attributes", "ordering_key", "payload"];
const OPERATORS: [&str; 18] = [
    operators::CONDITIONAL,
    operators::LOGICAL_AND,
    operators::LOGICAL_OR,
    operators::LOGICAL_NOT,
    operators::SUBSTRACT,
    operators::ADD,
    operators::MULTIPLY,
    operators::DIVIDE,
    operators::MODULO,
    operators::EQUALS,
    operators::NOT_EQUALS,
    operators::GREATER_EQUALS,
    operators::LESS_EQUALS,
    operators::GREATER,
    operators::LESS,
    operators::NEGATE,
    operators::INDEX,
    operators::IN,
];
const LOOPS_MAX: usize = 4;
const SUMS_MAX: usize = 8;
const PAYLOAD_MENTIONS_MAX: usize = 32;
/// Each bracket uses stack during parsing.
const BRACKETS_MAX: usize = 100;
/// The maximum nesting depth: each level uses stack during evaluation.
const DEPTH_MAX: usize = 24;

/// Checks the rules that must hold before parsing.
pub(super) fn check_text(text: &str) -> Result<(), FilterError> {
    let opened = text.bytes().filter(|byte| matches!(byte, b'(' | b'[' | b'{')).count();
    if opened > BRACKETS_MAX {
        return Err(FilterError::Cost("use at most 100 brackets"));
    }
    Ok(())
}

/// Checks the rules. Returns whether the expression reads the payload.
pub(super) fn check(expression: &IdedExpr) -> Result<bool, FilterError> {
    let mut walk = Walk::default();
    walk.expression(expression)?;
    if is_never_boolean(&expression.expr) {
        return Err(FilterError::NotBoolean);
    }
    for (count, most, rule) in [
        (walk.loops, LOOPS_MAX, "use at most 4 loops"),
        (walk.sums, SUMS_MAX, "use at most 8 additions"),
        (walk.mentions, PAYLOAD_MENTIONS_MAX, "name `payload` at most 32 times"),
    ] {
        if count > most {
            return Err(FilterError::Cost(rule));
        }
    }
    Ok(walk.mentions > 0)
}

/// Whether the result can never be true or false, whatever the event.
fn is_never_boolean(expression: &Expr) -> bool {
    match expression {
        Expr::Literal(literal) => !matches!(literal, cel::common::ast::LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) | Expr::Struct(_) => true,
        Expr::Ident(name) => VARIABLES.contains(&name.as_str()),
        Expr::Call(call) => matches!(
            call.func_name.as_str(),
            "size"
                | "int"
                | "uint"
                | "double"
                | "string"
                | operators::ADD
                | operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE
        ),
        _ => false,
    }
}

#[derive(Default)]
struct Walk<'a> {
    /// The variables of the enclosing loop.
    bound: Vec<&'a str>,
    in_body: bool,
    depth: usize,
    loops: usize,
    sums: usize,
    mentions: usize,
}

impl<'a> Walk<'a> {
    fn expression(&mut self, expression: &'a IdedExpr) -> Result<(), FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(FilterError::Cost("nest at most 24 levels deep"));
        }
        self.parts(expression)?;
        self.depth -= 1;
        Ok(())
    }

    fn parts(&mut self, expression: &'a IdedExpr) -> Result<(), FilterError> {
        match &expression.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.name(name),
            Expr::Select(select) => self.expression(&select.operand),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(made) => Err(FilterError::UnknownFunction(made.type_name.clone())),
            Expr::Call(call) => {
                let name = call.func_name.as_str();
                let known =
                    FUNCTIONS.contains(&name) || OPERATORS.contains(&name) || name == operators::NOT_STRICTLY_FALSE;
                if !known {
                    return Err(FilterError::UnknownFunction(name.to_owned()));
                }
                if name == operators::ADD {
                    self.sums += 1;
                }
                call.target.iter().try_for_each(|target| self.expression(target))?;
                call.args.iter().try_for_each(|argument| self.expression(argument))
            }
            Expr::Comprehension(looped) => self.looped(looped),
        }
    }

    fn entry(&mut self, entry: &'a EntryExpr) -> Result<(), FilterError> {
        match entry {
            EntryExpr::StructField(field) => self.expression(&field.value),
            EntryExpr::MapEntry(entry) => {
                self.expression(&entry.key)?;
                self.expression(&entry.value)
            }
        }
    }

    fn name(&mut self, name: &'a str) -> Result<(), FilterError> {
        if self.bound.contains(&name) {
            return Ok(());
        }
        if !VARIABLES.contains(&name) {
            return Err(FilterError::UnknownVariable(name.to_owned()));
        }
        if name == "payload" {
            if self.in_body {
                return Err(FilterError::Cost("a loop may not name `payload` for each element"));
            }
            self.mentions += 1;
        }
        Ok(())
    }

    fn looped(&mut self, looped: &'a ComprehensionExpr) -> Result<(), FilterError> {
        if self.in_body {
            return Err(FilterError::Cost("a loop may not be inside another loop"));
        }
        self.loops += 1;
        self.expression(&looped.iter_range)?;
        self.expression(&looped.accu_init)?;
        self.bound = vec![&looped.iter_var, &looped.accu_var];
        self.bound.extend(looped.iter_var2.as_deref());
        self.in_body = true;
        let sums = self.sums;
        let body = [&looped.loop_cond, &looped.loop_step, &looped.result];
        body.into_iter().try_for_each(|part| self.expression(part))?;
        // The addition that the macros `map`, `filter` and `exists_one` expand to.
        if self.sums > sums && collects(looped) {
            self.sums -= 1;
        }
        self.in_body = false;
        self.bound.clear();
        Ok(())
    }
}

fn collects(looped: &ComprehensionExpr) -> bool {
    fn adds_to(expression: &Expr, accumulator: &str) -> bool {
        let Expr::Call(call) = expression else { return false };
        let first =
            |name: &str| matches!(call.args.first().map(|first| &first.expr), Some(Expr::Ident(of)) if of == name);
        match call.func_name.as_str() {
            operators::ADD => first(accumulator),
            operators::CONDITIONAL => call.args.iter().any(|branch| adds_to(&branch.expr, accumulator)),
            _ => false,
        }
    }
    adds_to(&looped.loop_step.expr, &looped.accu_var)
}
