# One step of a job that machines share: plan, render or join. `dir` is a folder that all of them
# have at the same path, with video.mp4 and speech.wav in it.
#   nomad job run -var step=plan latentsync.nomad.hcl
#   nomad job run -var step=render -var count=8 latentsync.nomad.hcl
#   nomad job run -var step=join latentsync.nomad.hcl
variable "step" {
  type = string
}

variable "count" {
  type    = number
  default = 1
}

variable "dir" {
  type    = string
  default = "/srv/latentsync"
}

job "latentsync" {
  id   = "latentsync-${var.step}"
  type = "batch"

  group "step" {
    count = var.count

    task "run" {
      driver = "docker"

      config {
        image      = "latentsync"
        entrypoint = ["sh", "/local/step.sh"]
        args       = [var.step]
        volumes    = ["${var.dir}:/data"]
      }

      template {
        destination = "local/step.sh"
        data        = <<-EOT
          set -eu
          cd /data
          case $1 in
          plan) exec latentsync plan video.mp4 speech.wav -o out.mp4 ;;
          render) exec sh /local/render-share.sh out.mp4.lsjob "$NOMAD_ALLOC_INDEX" ${var.count} ;;
          join) exec latentsync join out.mp4.lsjob ;;
          esac
        EOT
      }

      template {
        destination = "local/render-share.sh"
        data        = file("../render-share.sh")
      }

      resources {
        cpu    = 4000
        memory = 8192
      }
    }

    restart {
      attempts = 3
      mode     = "fail"
    }
  }
}
