#include "pipeline/budget.h"
#include "base/system.h"

uint64_t ls_budget_default(void)
{
    ls_machine_memory m;
    ls_machine_memory_now(&m, "");
    uint64_t left = m.available;
    if (m.cgroup_limit && m.cgroup_limit != UINT64_MAX) {
        const uint64_t group = m.cgroup_limit > m.cgroup_used ? m.cgroup_limit - m.cgroup_used : 0;
        left = group < left ? group : left;
    }
    return left / 10 * 7;
}
