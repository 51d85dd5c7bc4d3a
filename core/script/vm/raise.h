/*
 * MAY_RAISE marks a function that can leave by a Lua error, a longjmp past its caller.
 *
 * Every function that creates a Lua value can raise, if only because memory runs out. A caller must therefore hold no
 * memory, descriptor or half-changed state of C's own across such a call; what has to survive belongs to a Lua object
 * or to the VM's scratch buffers.
 *
 * In headers the mark is complete: an unmarked function never raises. In a .c file every static function that takes a
 * lua_State may raise and carries no mark; the mark is written where the lua_State hides in another argument.
 */
#ifndef SCRIPT_VM_RAISE_H
#define SCRIPT_VM_RAISE_H

#define MAY_RAISE

#endif
