/* What stands in for libnvidia-ml.so.1 where there is no GPU: it answers what a script says.
 *
 * The script is the file that NVML_STAND_IN names. It has one "key value" a line, is read again when it
 * has changed, and says:
 *
 *   init 9                what nvmlInit answers; 0 where it is not given
 *   gone 1                what everything but nvmlInit answers, if not 0
 *   held 1                nothing is answered as long as this is given, and the driver is locked meanwhile
 *   driver 580.65.06      the driver's version
 *   devices 2             how many GPUs there are
 *   0.uuid GPU-...        what GPU 0 answers; numbers as NVML gives them, in its units
 *   0.power.error 3       what asking for it answers instead
 *   0.error 15            what everything asked of GPU 0 answers instead
 *   0.migs 1              how many MIG devices GPU 0 has; their keys begin with 0/0, 0/1, ...
 *   0.processes 12=5,7=-  bytes by pid; "self" is this process, "-" a value that is not available
 *
 * What is not given is not supported. -DOLD_DRIVER leaves out functions that older drivers do not have.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SUCCESS = 0, UNINITIALIZED = 1, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, INSUFFICIENT_SIZE = 7 };
enum { MOST_LINES = 512, MOST_DEVICES = 16, MOST_MIGS = 4, MOST_FUNCTIONS = 64, LONGEST = 128 };

typedef struct { char name[16]; int gpu; int mig; } Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned version; unsigned long long total, reserved, free, used; } MemoryV2;
typedef struct { unsigned gpu, memory; } Utilization;
typedef struct { unsigned version, sensor; int temperature; } Temperature;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } Process;

static struct { char key[LONGEST], value[LONGEST]; } lines[MOST_LINES];
static int line_count;
static struct stat seen;
static Device devices[MOST_DEVICES], migs[MOST_DEVICES][MOST_MIGS];
static struct { const char *function; unsigned count; } calls[MOST_FUNCTIONS];
static pid_t initialised_by;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void count(const char *function) {
    int i = 0;
    while (calls[i].function && strcmp(calls[i].function, function)) i++;
    calls[i].function = function;
    calls[i].count++;
}

/* How often a function was called; a forked child goes on counting. */
unsigned standInCalls(const char *function) {
    for (int i = 0; i < MOST_FUNCTIONS && calls[i].function; i++)
        if (!strcmp(calls[i].function, function)) return calls[i].count;
    return 0;
}

static void read_script(void) {
    const char *path = getenv("NVML_STAND_IN");
    struct stat now;
    if (!path || stat(path, &now)) abort();
    /* A test puts a new file in place of the old one. */
    if (now.st_ino == seen.st_ino && now.st_size == seen.st_size && now.st_mtim.tv_sec == seen.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == seen.st_mtim.tv_nsec)
        return;
    FILE *file = fopen(path, "r");
    if (!file) abort();
    line_count = 0;
    while (line_count < MOST_LINES &&
           fscanf(file, "%127s %127[^\n]", lines[line_count].key, lines[line_count].value) == 2)
        line_count++;
    fclose(file);
    seen = now;
}

static const char *text(const char *key) {
    for (int i = 0; i < line_count; i++)
        if (!strcmp(lines[i].key, key)) return lines[i].value;
    return NULL;
}

static long long number(const char *key) {
    const char *value = text(key);
    return value ? atoll(value) : 0;
}

/* Begins each call; as in the real library, one that is under way keeps others out. */
static void begin(const char *function) {
    count(function);
    pthread_mutex_lock(&lock);
    for (read_script(); number("held"); read_script()) usleep(1000);
    pthread_mutex_unlock(&lock);
}

/* Begins each call but nvmlInit. */
static int enter(const char *function) {
    begin(function);
    if (initialised_by != getpid()) return UNINITIALIZED;
    return (int)number("gone");
}

/* Looks up what a device answers; NULL with a return code where it answers with an error. */
static const char *answer(const char *function, Device *device, const char *what, int *code) {
    char key[LONGEST];
    if ((*code = enter(function))) return NULL;
    snprintf(key, sizeof key, "%s.error", device->name);
    if ((*code = (int)number(key))) return NULL;
    snprintf(key, sizeof key, "%s.%s.error", device->name, what);
    if ((*code = (int)number(key))) return NULL;
    snprintf(key, sizeof key, "%s.%s", device->name, what);
    const char *value = text(key);
    if (!value) *code = NOT_SUPPORTED;
    return value;
}

static int give_text(const char *function, Device *device, const char *what, char *into, unsigned size) {
    int code;
    const char *value = answer(function, device, what, &code);
    if (value) snprintf(into, size, "%s", value);
    return code;
}

static int give_unsigned(const char *function, Device *device, const char *what, unsigned *into) {
    int code;
    const char *value = answer(function, device, what, &code);
    if (value) *into = (unsigned)strtoul(value, NULL, 10);
    return code;
}

static int give_long(const char *function, Device *device, const char *what, unsigned long long *into) {
    int code;
    const char *value = answer(function, device, what, &code);
    if (value) *into = strtoull(value, NULL, 10);
    return code;
}

int nvmlInitWithFlags(unsigned flags) {
    (void)flags;
    begin(__func__);
    int code = (int)number("init");
    if (!code) initialised_by = getpid();
    return code;
}

int nvmlShutdown(void) {
    int code = enter(__func__);
    initialised_by = 0;
    return code;
}

const char *nvmlErrorString(int code) {
    (void)code;
    return "an error of the stand-in";
}

int nvmlSystemGetDriverVersion(char *into, unsigned size) {
    int code = enter(__func__);
    const char *value = text("driver");
    if (!code && value) snprintf(into, size, "%s", value);
    return code ? code : value ? SUCCESS : NOT_SUPPORTED;
}

int nvmlDeviceGetCount_v2(unsigned *into) {
    int code = enter(__func__);
    *into = (unsigned)number("devices");
    return code;
}

int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **into) {
    int code = enter(__func__);
    char key[LONGEST];
    if (code) return code;
    if (index >= MOST_DEVICES || index >= number("devices")) return INVALID_ARGUMENT;
    Device *device = &devices[index];
    snprintf(device->name, sizeof device->name, "%u", index);
    device->gpu = (int)index;
    device->mig = -1;
    *into = device;
    snprintf(key, sizeof key, "%u.handle.error", index);
    return (int)number(key);
}

int nvmlDeviceGetMaxMigDeviceCount(Device *device, unsigned *into) {
    /* As on A100: places for more than there are. */
    *into = MOST_MIGS;
    int code;
    return answer(__func__, device, "migs", &code) ? SUCCESS : code;
}

int nvmlDeviceGetMigDeviceHandleByIndex(Device *device, unsigned index, Device **into) {
    int code;
    const char *value = answer(__func__, device, "migs", &code);
    if (!value) return code;
    if (index >= MOST_MIGS || (int)index >= atoi(value)) return NOT_FOUND;
    Device *mig = &migs[device->gpu][index];
    snprintf(mig->name, sizeof mig->name, "%d/%u", device->gpu, index);
    mig->gpu = device->gpu;
    mig->mig = (int)index;
    *into = mig;
    return SUCCESS;
}

int nvmlDeviceGetUUID(Device *device, char *into, unsigned size) {
    return give_text(__func__, device, "uuid", into, size);
}

int nvmlDeviceGetName(Device *device, char *into, unsigned size) {
    return give_text(__func__, device, "name", into, size);
}

int nvmlDeviceGetUtilizationRates(Device *device, Utilization *into) {
    into->memory = 99; /* the bus' share, which nobody asks for */
    return give_unsigned(__func__, device, "utilization", &into->gpu);
}

int nvmlDeviceGetEncoderUtilization(Device *device, unsigned *into, unsigned *period_us) {
    *period_us = 167000;
    return give_unsigned(__func__, device, "encoder", into);
}

int nvmlDeviceGetDecoderUtilization(Device *device, unsigned *into, unsigned *period_us) {
    *period_us = 167000;
    return give_unsigned(__func__, device, "decoder", into);
}

/* The first version counts as used what the driver keeps for itself. */
int nvmlDeviceGetMemoryInfo(Device *device, Memory *into) {
    unsigned long long reserved = 0;
    int code = give_long(__func__, device, "memory_total", &into->total);
    if (!code) code = give_long(__func__, device, "memory_used", &into->used);
    if (!code) code = give_long(__func__, device, "memory_reserved", &reserved);
    into->used += reserved;
    into->free = into->total - into->used;
    return code;
}

int nvmlDeviceGetPowerUsage(Device *device, unsigned *into) {
    return give_unsigned(__func__, device, "power", into);
}

int nvmlDeviceGetTemperature(Device *device, unsigned sensor, unsigned *into) {
    return sensor ? INVALID_ARGUMENT : give_unsigned(__func__, device, "temperature", into);
}

int nvmlDeviceGetFanSpeed(Device *device, unsigned *into) {
    return give_unsigned(__func__, device, "fan", into);
}

int nvmlDeviceGetTotalEccErrors(Device *device, unsigned kind, unsigned counter, unsigned long long *into) {
    if (counter) return INVALID_ARGUMENT; /* not since the driver was loaded, but ever */
    return give_long(__func__, device, kind ? "uncorrected" : "corrected", into);
}

int nvmlDeviceGetClockInfo(Device *device, unsigned clock, unsigned *into) {
    static const char *const names[] = {"graphics_clock", "sm_clock", "memory_clock"};
    return clock > 2 ? INVALID_ARGUMENT : give_unsigned(__func__, device, names[clock], into);
}

int nvmlDeviceGetPcieThroughput(Device *device, unsigned direction, unsigned *into) {
    return give_unsigned(__func__, device, direction ? "pcie_received" : "pcie_transmitted", into);
}

int nvmlDeviceGetCurrentClocksThrottleReasons(Device *device, unsigned long long *into) {
    return give_long(__func__, device, "throttle", into);
}

int nvmlDeviceGetSupportedClocksThrottleReasons(Device *device, unsigned long long *into) {
    return give_long(__func__, device, "throttle_known", into);
}

static int processes(const char *function, Device *device, unsigned *size, Process *into) {
    int code;
    unsigned found = 0;
    const char *value = answer(function, device, "processes", &code);
    if (!value) return code;
    char copy[LONGEST], *rest = copy, *one;
    snprintf(copy, sizeof copy, "%s", value);
    while ((one = strsep(&rest, ","))) {
        char *used = strchr(one, '=');
        if (!used) continue;
        if (into && found < *size) {
            into[found].pid = strncmp(one, "self", 4) ? (unsigned)atoi(one) : (unsigned)getpid();
            into[found].used = used[1] == '-' ? ~0ULL : strtoull(used + 1, NULL, 10);
        }
        found++;
    }
    code = found > *size ? INSUFFICIENT_SIZE : SUCCESS;
    *size = found;
    return code;
}

int nvmlDeviceGetComputeRunningProcesses_v2(Device *device, unsigned *size, Process *into) {
    return processes(__func__, device, size, into);
}

#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(Device *device, MemoryV2 *into) {
    if (into->version != (sizeof *into | 2U << 24)) return INVALID_ARGUMENT;
    int code = give_long(__func__, device, "memory_total", &into->total);
    if (!code) code = give_long(__func__, device, "memory_used", &into->used);
    if (!code) code = give_long(__func__, device, "memory_reserved", &into->reserved);
    return code;
}

int nvmlDeviceGetTotalEnergyConsumption(Device *device, unsigned long long *into) {
    return give_long(__func__, device, "energy", into);
}

int nvmlDeviceGetTemperatureV(Device *device, Temperature *into) {
    unsigned value = 0;
    int code = into->sensor ? INVALID_ARGUMENT : give_unsigned(__func__, device, "temperature", &value);
    into->temperature = (int)value;
    return code;
}

int nvmlDeviceGetCurrentClocksEventReasons(Device *device, unsigned long long *into) {
    return give_long(__func__, device, "throttle", into);
}

int nvmlDeviceGetSupportedClocksEventReasons(Device *device, unsigned long long *into) {
    return give_long(__func__, device, "throttle_known", into);
}

int nvmlDeviceGetComputeRunningProcesses_v3(Device *device, unsigned *size, Process *into) {
    return processes(__func__, device, size, into);
}
#endif
