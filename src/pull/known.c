#include "pull/known.h"
#include "base/alloc.h"

#include <stddef.h>
#include <string.h>

static const ls_known_file files[] = {
    {"1.5/latentsync_unet.pt", "6440b49a7ccceff56cdc001f5f17605216337f5bbd66fa360139768926e23f51",
     5072348184},
    {"1.6/latentsync_unet.pt", "0a478e89eb660f82da4c35dbdde8a5adfb27f99d1b4e50edd03729e1e98316d3",
     5072222488},
    {"whisper/tiny.pt", "65147644a518d12f04e32d6f3b26facc3f8dd46e5390956a9424a650c0ce22b9",
     75572083},
    {"vae/diffusion_pytorch_model.safetensors",
     "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815", 334643276},
    {"auxiliary/syncnet_v2.model",
     "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442", 54573114},
    {"stable_syncnet.pt", "77678d13861a02d6e83d0b169962175b6266be773f1f6f85fda2b0182e225118",
     1605328746},
    {"buffalo_l.zip", "80ffe37d8a5940d59a7384c201a2a38d4741f2f3c51eef46ebb28218a7b0ca2f",
     288621354},
    {"face/det_10g.onnx", "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91",
     16923827},
    {"face/2d106det.onnx", "f001b856447c413801ef5c42091ed0cd516fcd21f2d6b79635b1e733a7109dbf",
     5030888},
};

const ls_known_file *ls_known_file_find(const char *name)
{
    for (size_t i = 0; i < LS_COUNT(files); i++)
        if (!strcmp(files[i].name, name))
            return &files[i];
    return NULL;
}
