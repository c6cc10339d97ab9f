//! What a good file compiles to.
